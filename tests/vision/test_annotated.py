"""COCO's JSON and PASCAL VOC's XML are read as they are meant, and do no harm."""

from __future__ import annotations

import copy
import json

import pytest

from minigrad.errors import FormatError
from minigrad.vision import annotated, voc
from minigrad.vision.annotated import Thing, read_coco
from minigrad.vision.voc import read_voc

COCO = {
    "info": {"year": 2017},
    "images": [
        {"id": 9, "file_name": "b.jpg", "width": 5, "height": 4},
        {"id": 3, "file_name": "sub/a.jpg"},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
    "annotations": [
        {"image_id": 9, "category_id": 18, "bbox": [1, 2.5, 3, 4], "area": 7.5, "iscrowd": 1},
        {"image_id": 9, "category_id": 1, "bbox": [0, 0, 2, 3], "segmentation": [[1]]},
    ],
}
DOG = """<annotation><folder>VOC2007</folder><filename>a.png</filename>
<object><name>dog</name><pose>Left</pose><difficult>1</difficult>
 <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>31.5</ymax></bndbox>
 <part><name>head</name>
  <bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>
</object>
<object><name> cat </name>
 <bndbox><ymin>3</ymin><xmin>4</xmin><ymax>3</ymax><xmax>4</xmax></bndbox></object>
</annotation>"""


def coco(tmp_path, made):
    file = tmp_path / "instances.json"
    file.write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
    return read_coco(file, tmp_path)


def xml(tmp_path, text):
    (tmp_path / "one.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_voc(tmp_path, tmp_path / "photos")


def test_cocos_objects_by_photograph(tmp_path):
    first, second = coco(tmp_path, COCO)
    assert (first.photo, first.things) == (tmp_path / "sub" / "a.jpg", ())
    assert second.photo == tmp_path / "b.jpg"
    assert second.things == (
        Thing("dog", (1, 2.5, 3, 4), 7.5, True), Thing("person", (0, 0, 2, 3), 6.0, False),
    )  # fmt: skip
    truth = second.truth({"person": 4})
    assert (truth.labels.tolist(), truth.boxes.tolist()) == ([4], [[0, 0, 2, 3]])


def test_vocs_pixels_begin_with_1_and_parts_are_no_objects(tmp_path):
    (one,) = xml(tmp_path, DOG)
    assert one.photo == tmp_path / "photos" / "a.png"
    assert one.things == (
        Thing("dog", (0, 1, 20, 30.5), 610.0, True), Thing("cat", (3, 2, 1, 1), 1.0, False),
    )  # fmt: skip
    (unnamed,) = xml(tmp_path, "<annotation><size/></annotation>")
    assert (unnamed.photo.name, unnamed.things) == ("one.jpg", ())


def changed(path, value):
    made = copy.deepcopy(COCO)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["images"], {}, "no list of objects called images"),
        (["categories"], [1], "no list of objects called categories"),
        (["annotations"], None, "no list of objects called annotations"),
        (["images", 0, "id"], "9", "id must be a whole number"),
        (["images", 0, "id"], 3, "two of the images have the same id"),
        (["categories", 0, "id"], 10**30, "id must be a whole number"),
        (["categories", 0, "name"], "person", "'person' is there twice"),
        (["categories", 0, "name"], ["dog"], "name must be a text"),
        (["images", 0, "file_name"], "../../etc/passwd", "not one of the photographs' folder"),
        (["images", 0, "file_name"], "/etc/passwd", "not one of the photographs' folder"),
        (["images", 0, "file_name"], "C:\\a.jpg", "not one of the photographs' folder"),
        (["images", 0, "file_name"], "a\0.jpg", "not one of the photographs' folder"),
        (["images", 0, "file_name"], ".", "not one of the photographs' folder"),
        (["annotations", 0, "image_id"], 4, "of image 4, which the file has not"),
        (["annotations", 0, "category_id"], 4, "of category 4, which the file has not"),
        (["annotations", 0, "bbox"], [1, 2, 3], "bbox must be four numbers"),
        (["annotations", 0, "bbox"], [1, 2, 3, "4"], "bbox must be numbers of pixels"),
        (["annotations", 0, "bbox"], [1, 2, 3, float("nan")], "bbox must be numbers of pixels"),
        (["annotations", 0, "bbox"], [1, 2, 3, 10**400], "bbox must be numbers of pixels"),
        (["annotations", 0, "bbox"], [1, 2, -3, 4], "a negative size"),
        (["annotations", 0, "area"], -1, "area must be numbers of pixels"),
        (["annotations", 0, "iscrowd"], 0.5, "iscrowd must be a whole number"),
    ],
)
def test_what_is_wrong_with_a_json_is_named(tmp_path, path, value, message):
    with pytest.raises(FormatError, match=message) as error:
        coco(tmp_path, changed(path, value))
    assert "instances.json" in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"[" * 200_000, "is no JSON"),
        (b'{"a":' * 100_000, "is no JSON"),
        (b'{"images": ' + b"9" * 10_000 + b"}", "is no JSON|no list"),
        (b"\xff\xfe{", "is no JSON"),
        (b"[]", "must be an object"),
    ],
)
def test_what_is_no_json_of_coco_is_refused(tmp_path, data, message):
    with pytest.raises(FormatError, match=message):
        coco(tmp_path, data)


def declared(text, encoding="utf-8"):
    return f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)


LAUGHS = "<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
) + "]><annotation><filename>&j;</filename></annotation>"  # fmt: skip
OUTSIDE = "<!DOCTYPE a [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><annotation>&a;</annotation>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "declares a document type"),
        (declared(LAUGHS, "utf-16"), "declares a document type"),
        (OUTSIDE, "declares a document type"),
        ("<!DOCTYPE annotation SYSTEM 'http://a/b.dtd'><annotation/>", "declares a document type"),
        ("<annotation>&a;</annotation>", "no XML"),
        (declared("<annotation/>", "utf-8").replace(b"utf-8", b"utf-9"), "no XML"),
        ("<annotation>", "no XML"),
        ("no", "no XML"),
        (b"\x00\xff", "no XML"),
        ("<html/>", "no annotation of PASCAL VOC"),
        ("<annotation>" * 9, "more than 8 deep"),
        ("<a>" * 100_000, "more than 8 deep"),
        (f"<annotation><filename>{'a' * 5000}</filename></annotation>", "over 4,096 characters"),
        # A comment ends a piece of text: joining all of them would take the square of their number.
        (f"<annotation><filename>{'a<!---->' * 99_999}</filename></annotation>", "over 4,096"),
        ("<annotation><filename>../a.jpg</filename></annotation>", "photographs' folder"),
        (DOG.replace("<name>dog</name>", ""), "an object has no name"),
        (DOG.replace("31.5", "nan"), "ymax must be a number of pixels, not 'nan'"),
        (DOG.replace("31.5", "1e9"), "ymax must be a number of pixels"),
        (DOG.replace("31.5", ""), "ymax must be a number of pixels, not ''"),
        (DOG.replace("31.5", "1"), "'dog' ends before it begins"),
    ],
)
def test_what_is_wrong_with_an_xml_is_named(tmp_path, text, message):
    with pytest.raises(FormatError, match=message) as error:
        xml(tmp_path, text)
    assert "one.xml" in str(error.value)


def test_files_are_limited_in_size(tmp_path, monkeypatch):
    for module in (annotated, voc):
        monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(FormatError, match=r"instances\.json.* bytes, more than 100"):
        coco(tmp_path, COCO)
    with pytest.raises(FormatError, match=r"one\.xml.* bytes, more than 100"):
        xml(tmp_path, DOG)
    with pytest.raises(FormatError, match="no .xml files"):
        read_voc(tmp_path / "nothing", tmp_path)
