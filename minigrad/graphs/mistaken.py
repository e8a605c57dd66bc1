"""Files that people take for a network's graph, told by how they begin."""

from __future__ import annotations

__all__ = ["kind_of"]

WEIGHTS = "it has weights, and the program that uses them has the graph: export it to ONNX there"
BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS; 'git lfs pull' fetches the file itself"),
    (b"PK\x03\x04", f"a zip file, such as PyTorch's .pth, .npz or Keras' .keras; {WEIGHTS}"),
    (b"\x89HDF", f"an HDF5 file, such as Keras' .h5; {WEIGHTS}"),
    (b"\x80\x02", f"a pickle, such as an old .pth of PyTorch; {WEIGHTS}"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"<", "a page of HTML or XML, as a failed download leaves it"),
    (b"{", "a JSON text"),
    (b"\x89PNG", "a photograph"),
    (b"\xff\xd8\xff", "a photograph"),
)


def kind_of(head: bytes) -> str | None:
    """What a file is whose first bytes these are, if it is no graph and often taken for one.

    >>> kind_of(b"<!DOCTYPE html>")
    'a page of HTML or XML, as a failed download leaves it'
    """
    if head[8:10] == b'{"':
        return f"a safetensors file; {WEIGHTS}"
    return next((kind for begins, kind in BEGINNINGS if head.lstrip().startswith(begins)), None)
