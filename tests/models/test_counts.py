"""Parameters and multiply-adds equal what the libraries' own definitions count.

Every figure was counted in the library named, or by a parser of the authors' files; the
published roundings agree with them.  Parameters: trained ones.  MACs: weights of convolutions
and linear layers, for one image.
"""

from __future__ import annotations

import pytest

from minigrad import models

ROWS = [
    # name                     input  parameters          MACs   switches
    # SqueezeNext: the authors' Caffe files, by a parser.
    ("squeezenext_1_0_23",      227,    717_280,    277_999_808, {}),
    ("squeezenext_1_0_23",      224,    717_280,    268_976_832, {}),
    ("squeezenext_1_0_g_23",    227,    543_072,    224_191_552, {}),
    ("squeezenext_1_0_g_23",    224,    543_072,    216_810_688, {}),
    ("squeezenext_1_0_23v5",    227,    930_016,    224_916_480, {}),
    ("squeezenext_1_0_23v5",    224,    930_016,    222_046_464, {}),
    ("squeezenext_2_0_23",      227,  2_361_728,    742_070_464, {}),
    ("squeezenext_2_0_23",      224,  2_361_728,    719_066_816, {}),
    ("squeezenext_2_0_23v5",    227,  3_222_912,    702_592_000, {}),
    ("squeezenext_2_0_23v5",    224,  3_222_912,    697_960_192, {}),
    # pytorchcv's ports of them.
    ("squeezenext_1_0_23",      224,    724_056,    275_920_640, {"preset": "pytorchcv"}),
    ("squeezenext_1_0_23v5",    224,    921_816,    276_943_616, {"preset": "pytorchcv"}),
    ("squeezenext_2_0_23",      224,  2_583_752,    875_752_960, {"preset": "pytorchcv"}),
    ("squeezenext_2_0_23v5",    224,  3_366_344,    879_844_864, {"preset": "pytorchcv"}),
    ("squeezenext_1_5_23_reconstructed", 224, 1_511_824, 535_347_840, {"preset": "pytorchcv"}),
    ("squeezenext_1_5_23v5_reconstructed", 224, 1_953_616, 537_649_536, {"preset": "pytorchcv"}),
    # MobileNetV2.
    ("mobilenet_v2_0_35",       224,  1_677_128,     59_285_808, {}),
    ("mobilenet_v2_0_5",        224,  1_968_680,     97_131_840, {}),
    ("mobilenet_v2_0_75",       224,  2_636_424,    209_069_792, {}),
    ("mobilenet_v2",            224,  3_504_872,    300_774_272, {}),
    ("mobilenet_v2_1_3",        224,  5_386_792,    509_374_560, {}),
    ("mobilenet_v2_1_4",        224,  6_108_776,    582_195_824, {}),
    ("mobilenet_v2",            192,  3_504_872,    221_316_608, {}),
    ("mobilenet_v2",            160,  3_504_872,    154_083_200, {}),
    ("mobilenet_v2",            128,  3_504_872,     99_074_048, {}),
    ("mobilenet_v2",             96,  3_504_872,     56_289_152, {}),
    ("mobilenet_v2",            224,  3_504_872,    300_774_272, {"preset": "torchvision"}),
    ("mobilenet_v2",            224,  3_504_872,    300_774_272, {"preset": "timm"}),
    # MobileNetV3; 0.75 by slim's rule and by torchvision's; the reduced tail of detectors.
    ("mobilenet_v3_large",      224,  5_483_032,    216_589_760, {}),
    ("mobilenet_v3_large",      224,  5_483_032,    216_589_760, {"preset": "torchvision"}),
    ("mobilenet_v3_large_0_75", 224,  3_993_528,    154_560_624, {}),
    ("mobilenet_v3_large_0_75", 224,  3_377_576,    140_033_816, {"preset": "torchvision"}),
    ("mobilenet_v3_large_minimalistic", 224, 3_924_288, 209_136_704, {}),
    ("mobilenet_v3_small",      224,  2_542_856,     56_510_400, {}),
    ("mobilenet_v3_small",      224,  2_542_856,     56_510_400, {"preset": "torchvision"}),
    ("mobilenet_v3_small_0_75", 224,  2_041_872,     43_399_344, {}),
    ("mobilenet_v3_small_minimalistic", 224, 2_044_736, 52_288_448, {}),
    ("mobilenet_v3_large",      224,  2_569_352,    182_302_720, {"reduced_tail": True}),
    ("mobilenet_v3_small",      224,  1_099_672,     43_763_584, {"reduced_tail": True}),
    ("mnasnet_small",           224,  2_030_264,     68_339_184, {}),
    # EfficientNet, on the size each was made for.
    ("efficientnet_b0",         224,  5_288_548,    385_814_752, {}),
    ("efficientnet_b1",         240,  7_794_184,    686_802_832, {}),
    ("efficientnet_b2",         260,  9_109_994,    993_561_872, {}),
    ("efficientnet_b3",         300, 12_233_232,  1_827_141_392, {}),
    ("efficientnet_b4",         380, 19_341_616,  4_393_771_024, {}),
    ("efficientnet_b5",         456, 30_389_784, 10_266_384_752, {}),
    ("efficientnet_b6",         528, 43_040_704, 19_067_593_536, {}),
    ("efficientnet_b7",         600, 66_347_960, 37_745_884_192, {}),
    ("efficientnet_b8",         672, 87_413_142, 62_597_461_568, {}),
    ("efficientnet_b0",         224,  5_288_548,    385_814_752, {"preset": "torchvision"}),
    # EfficientNet-Lite; 3 and 4 also on timm's sizes.
    ("efficientnet_lite0",      224,  4_652_008,    385_187_552, {}),
    ("efficientnet_lite1",      240,  5_416_680,    600_185_232, {}),
    ("efficientnet_lite2",      260,  6_092_072,    859_736_272, {}),
    ("efficientnet_lite3",      280,  8_197_096,  1_383_321_872, {}),
    ("efficientnet_lite4",      300, 13_006_568,  2_553_034_336, {}),
    ("efficientnet_lite3",      300,  8_197_096,  1_607_554_544, {}),
    ("efficientnet_lite4",      380, 13_006_568,  3_943_564_112, {}),
    # EfficientNetV2.
    ("efficientnet_v2_s",       384, 21_458_488,  8_365_617_152, {}),
    ("efficientnet_v2_m",       480, 54_139_356, 24_582_460_384, {}),
    ("efficientnet_v2_l",       480, 118_515_272, 56_079_699_008, {}),
    ("efficientnet_v2_xl",      512, 208_119_808, 93_353_451_520, {}),
    ("efficientnet_v2_b0",      224,  7_139_704,    718_086_176, {}),
    ("efficientnet_v2_b1",      240,  8_141_052,  1_196_819_360, {}),
    ("efficientnet_v2_b2",      260, 10_096_086,  1_697_542_832, {}),
    ("efficientnet_v2_b3",      300, 14_358_406,  3_011_458_816, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "parameters", "macs", "switches"), ROWS)
def test_parameters_and_macs(
    name: str, size: int, parameters: int, macs: int, switches: dict[str, object]
) -> None:
    s = models.summary(models.create(name, **switches), (1, 3, size, size))
    assert (s.parameters, s.macs, s.flops) == (parameters, macs, 2 * macs)


MILLIONS = [
    # name              parameters  MACs in millions, as measured to two places
    ("mnasnet_b1_0_5",  2_218_512, 104.46),
    ("mnasnet_b1_0_75", 3_170_208, 215.49),
    ("mnasnet_b1",      4_383_312, 314.42),
    ("mnasnet_b1_1_3",  6_282_256, 526.36),
    ("mnasnet_a1_0_5",  2_082_006, 103.16),
    ("mnasnet_a1_0_75", 2_912_278, 223.45),
    ("mnasnet_a1",      3_887_038, 311.58),
    ("mnasnet_a1_1_4",  6_105_992, 586.32),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "millions"), MILLIONS)
def test_parameters_and_macs_of_mnasnet(name: str, parameters: int, millions: float) -> None:
    s = models.summary(models.create(name))
    assert (s.parameters, round(s.macs / 1e6, 2)) == (parameters, millions)


PARAMETERS = [
    # name                  parameters  switches
    ("mobilenet_v2",         3_504_960, {"preset": "pytorchcv"}),
    ("mobilenet_v2",         3_503_872, {"preset": "pytorchcv_b"}),
    ("mobilenet_v3_large",   5_481_752, {"preset": "pytorchcv"}),
    ("efficientnet_b0",      5_288_548, {"preset": "pytorchcv"}),
    ("efficientnet_b0",      5_288_548, {"preset": "timm"}),
    ("mobilenet_v3_large_0_75", 3_993_528, {"preset": "timm"}),
    ("efficientnet_v2_s",   21_458_488, {"preset": "torchvision"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "switches"), PARAMETERS)
def test_parameters_of_ports(name: str, parameters: int, switches: dict[str, object]) -> None:
    assert sum(p.size for p in models.create(name, **switches).parameters()) == parameters


def test_the_official_mobilenet_v2_count_leaves_batch_norm_out() -> None:
    model = models.create("mobilenet_v2")
    batch_norm = sum(p.size for name, p in model.named_parameters() if ".bn." in name)
    assert batch_norm == 34_112


def test_squeeze_sizes_of_mobilenet_v3() -> None:
    sizes = {}
    for name in ("mobilenet_v3_large", "mobilenet_v3_small"):
        for layer, p in models.create(name).named_parameters():
            if layer.endswith("se.reduce.weight"):
                sizes[p.shape[1]] = p.shape[0]
    assert sizes == {
        16: 8, 72: 24, 96: 24, 120: 32, 144: 40, 240: 64, 288: 72,
        480: 120, 576: 144, 672: 168, 960: 240,
    }  # fmt: skip


# MobileNetV2 1.0, 224, float32, KiB: (block, whole, t = 2, t = 4, t = e, x + y).
MEMORY = [
    ("blocks.0.0", 3136, None, None, 2450, 2352),
    ("blocks.1.0", 5880, 4018, 2548, 1139, 1078),
    ("blocks.1.1", 3822, 2352, 1470, 612, 588),
    ("blocks.2.0", 2205, 1494, 943, 407, 392),
    ("blocks.2.1", 1274, 784, 490, 202, 196),
    ("blocks.4.1", 956, 588, 368, 149, 147),
    ("blocks.5.1", 398, 245, 153, 62, 61),
]


@pytest.mark.parametrize(("block", "peak", "two", "four", "every", "ends"), MEMORY)
def test_activation_memory_of_mobilenet_v2(
    block: str, peak: int, two: int | None, four: int | None, every: int, ends: int
) -> None:
    found = {b.name: b for b in models.memory(models.create("mobilenet_v2"))}[block]
    kib = [round(v / 1024) for v in (found.peak, found.split(), found.x + found.y)]
    assert kib == [peak, every, ends]
    if two and four:
        assert [round(found.split(t) / 1024) for t in (2, 4)] == [two, four]


def test_splitting_lowers_the_peak_of_the_whole_network() -> None:
    blocks = models.memory(models.create("mobilenet_v2"))
    assert max(b.peak for b in blocks) == 5880 * 1024
    assert max(b.split() for b in blocks) == 2450 * 1024
