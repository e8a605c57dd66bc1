"""Networks that name every pixel compute what torchvision computes, under its names."""

from __future__ import annotations

import numpy as np
import pytest
from golden_dense import CASES, expect_gradients, expect_output, weights

import minigrad as mg
from minigrad import nn
from minigrad.errors import ShapeError, StateDictError, UnknownNameError
from minigrad.models import segmentation
from minigrad.models.dense import Trunk

PUBLISHED = [
    # name                           parameters          MACs at 520
    ("lraspp_mobilenet_v3_large",     3_221_538,  2_086_219_688),
    ("deeplabv3_mobilenet_v3_large", 11_029_328, 10_436_350_688),
    ("deeplabv3_mobilenet_v2",        2_113_557,  2_749_513_744),
    ("lraspp_squeezenext_1_0_23v5",     838_858,  1_414_638_784),
    ("lraspp_inverted_residual_small",   61_168,    419_932_736),
]  # fmt: skip
TORCHVISION = [name for name in segmentation.names() if name in CASES]


@pytest.mark.parametrize(("name", "parameters", "macs"), PUBLISHED)
def test_parameters_and_multiply_adds(name, parameters, macs):
    model = segmentation.create(name, rng=0).eval()
    assert sum(p.size for p in model.parameters()) == parameters
    assert mg.summary(model, (1, 3, 520, 520)).macs == macs


def test_without_the_auxiliary_head_there_are_fewer_parameters():
    model = segmentation.create("deeplabv3_mobilenet_v3_large", aux=False)
    assert sum(p.size for p in model.parameters()) == 11_025_477


@pytest.mark.parametrize("name", TORCHVISION)
def test_logits_equal_torchvisions(name):
    case = CASES[name]
    model = segmentation.create(name, weights=weights.state(case["keys"]))
    x = mg.from_numpy(weights.image(case["size"]))
    with mg.no_grad(), mg.backend("numpy"):
        expect_output(model(x).numpy(), case["outputs"][0])
        if len(case["outputs"]) > 1:
            aux = model.aux_classifier(model.backbone(x))
            aux = mg.resize(aux, x.shape[2:], mode="linear")
            expect_output(aux.numpy(), case["outputs"][1])


def test_gradients_of_the_pixels_cross_entropy_equal_torchvisions():
    case = CASES["lraspp_mobilenet_v3_large"]
    model = segmentation.create(case["name"], weights=weights.state(case["keys"])).train()
    size = case["size"]
    labels = (weights.fractions(7, (2, size, size)) * 22).astype(np.int64)
    labels[labels == 21] = 255
    with mg.backend("numpy"):
        logits = model(mg.from_numpy(weights.image(size, 2)))
        loss = mg.cross_entropy(logits, labels, ignore_index=255)
        loss.backward()
    assert loss.item() == pytest.approx(case["loss"], rel=1e-10)
    expect_gradients(model, case)


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_names_are_torchvisions_and_lead_back(name):
    state = weights.state(CASES[name]["keys"])
    model = segmentation.create(name, weights=state)
    theirs = model.key_map()
    assert set(theirs.values()) == set(state)
    for ours, value in model.state_dict().items():
        assert value.tobytes() == state[theirs[ours]].tobytes()
    assert segmentation.CATALOGUE.identify(state) == name


@pytest.mark.parametrize("name", segmentation.names())
def test_saved_weights_say_what_they_are(name, tmp_path):
    model = segmentation.create(name, num_classes=5, rng=0)
    model.labels = ("background", "a", "b", "c", "d")
    mg.formats.save(tmp_path / "w.npz", model.state_dict())
    state = mg.load(tmp_path / "w.npz")
    assert segmentation.CATALOGUE.identify(state) == name
    back = segmentation.create(name, weights=state)
    assert (back.num_classes, back.labels) == (5, model.labels)
    x = mg.from_numpy(weights.image(33).astype(np.float32))
    assert np.array_equal(back(x).numpy(), model.eval()(x).numpy())


@pytest.mark.parametrize("name", segmentation.names())
def test_a_plan_computes_what_the_network_does(name):
    model = segmentation.create(name, rng=0).eval()
    x = weights.image(70)[:, :, :, :53].astype(np.float32)
    with mg.no_grad():
        eager = model(mg.Tensor(x)).numpy()
    plan = mg.compile(model, x.shape, fold=False)
    assert eager.shape == (1, model.num_classes, 70, 53)
    if mg.current_backend() == "cython":
        assert np.array_equal(plan(x), eager)
    folded = mg.compile(model, x.shape)(x)
    assert np.abs(folded - eager).max() <= 1e-4 * np.abs(eager).max()


@pytest.mark.parametrize("stride", [8, 16])
def test_a_backbone_keeps_the_stride_that_it_is_told(stride):
    model = segmentation.create("deeplabv3_mobilenet_v2", output_stride=stride).eval()
    with mg.no_grad():
        (last,) = model.backbone(mg.zeros(1, 3, 64, 64))
    assert last.shape == (1, 320, 64 // stride, 64 // stride)


def test_training_gives_the_auxiliary_heads_logits_too():
    model = segmentation.create("deeplabv3_mobilenet_v3_large", num_classes=2, rng=0)
    first, second = model(mg.zeros(2, 3, 32, 32))
    assert first.shape == second.shape == (2, 2, 32, 32)


@pytest.mark.parametrize("name", ["LRASPP", "DeepLabV3Head"])
def test_gradients_through_the_heads_are_slopes(name):
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal(shape) for shape in ((2, 3, 4, 5), (2, 4, 2, 3))]
    lraspp = name == "LRASPP"
    head = segmentation.LRASPP(3, 4, 3, 5) if lraspp else segmentation.DeepLabV3Head(4, 3, (1, 2))
    nn.init.initialize(head, "tensorflow", rng)
    head.to(np.float64).eval()
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):  # far from the kinks of ReLU
            part.bias = nn.Parameter(np.full(part.bias.shape, 20.0))
    size = (4, 5) if lraspp else (2, 3)
    labels = np.array(rng.integers(0, 3, (2, *size)))
    labels[0, 0] = 255

    def loss(*maps):
        return mg.cross_entropy(head(maps), labels, ignore_index=255)

    mg.check_grads(loss, *(maps if lraspp else maps[1:]))


def test_mistakes_are_told_in_a_sentence():
    with pytest.raises(UnknownNameError, match="segmentation has no network 'lraspp'"):
        segmentation.create("lraspp")
    with pytest.raises(UnknownNameError, match="no switch 'colour'"):
        segmentation.create("lraspp_mobilenet_v3_large", colour=1)
    with pytest.raises(StateDictError, match="not those that minigrad or torchvision gives"):
        segmentation.create("lraspp_mobilenet_v3_large", weights={"a.weight": np.zeros(3)})
    other = segmentation.create("lraspp_squeezenext_1_0_23v5", rng=0).state_dict()
    with pytest.raises(StateDictError, match="these are weights of 'lraspp_squeezenext"):
        segmentation.create("lraspp_mobilenet_v3_large", weights=other)
    with pytest.raises(ValueError, match=r"the backbone has no place '9\.1'"):
        Trunk(mg.models.create("mobilenet_v2"), ("9.1",))


def test_the_cross_entropy_of_a_map_is_that_of_its_pixels():
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    labels[1, 2] = 7
    rows = mg.Tensor(np.moveaxis(logits, 1, -1).reshape(-1, 3))
    how = {"ignore_index": 7, "label_smoothing": 0.1, "weight": [1.0, 2.0, 0.5]}
    for reduction in ("mean", "sum", "none"):
        of_map = mg.cross_entropy(mg.Tensor(logits), labels, reduction=reduction, **how)
        of_rows = mg.cross_entropy(rows, labels.ravel(), reduction=reduction, **how)
        assert np.array_equal(of_map.numpy().ravel(), of_rows.numpy().ravel())
    assert of_map.shape == labels.shape
    with pytest.raises(ShapeError, match=r"\(N, K, H, W\) and \(N, H, W\)"):
        mg.cross_entropy(mg.Tensor(logits), labels[:, 1:])
