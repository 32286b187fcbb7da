"""What an engine hands out of a container: a whole folder, or nothing that counts."""

import contextlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.engine.archive import MAX_TEXT, files

FOLDER = "/etc/capk"


def tar(**content: bytes | str | None) -> bytes:
    """Return an archive. Values: of a file; None for a folder; a text for the target of a link."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, value in content.items():
            entry = tarfile.TarInfo(name)
            entry.uid = 2**31 + 5  # as of a user namespace: it is written in bytes that are not ASCII
            if value is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(value, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, value
            else:
                entry.size = len(value)
            archive.addfile(entry, io.BytesIO(value) if isinstance(value, bytes) else None)
    return whole.getvalue()


@pytest.mark.parametrize("prefix", ["capk", "./capk", "etc/capk", "/etc/capk"])
def test_files_are_named_by_their_path_below_the_folder(prefix):
    archive = tar(
        **{prefix: None, f"{prefix}/claim": None, f"{prefix}/claim/u1.2": b"", f"{prefix}/complete": b"u1.2\n"}
    )
    assert files(archive, FOLDER) == {"": "", "claim": "", "claim/u1.2": "", "complete": "u1.2\n"}


def test_only_the_beginning_of_a_file_is_read_and_nothing_of_a_link_or_a_device():
    found = files(tar(**{"capk/long": b"\xff" * 9000, "capk/link": "/etc/shadow", "capk/claim": None}), FOLDER)
    assert found == {"long": "�" * MAX_TEXT, "link": "", "claim": ""}


@pytest.mark.parametrize("end", [0, 512, 1024, 1536])
def test_archive_that_is_cut_off_is_none(end):
    """Also one that ends between two files: what comes after it may be what is looked for."""
    whole = tar(**{"capk/claim": None, "capk/complete": b"u1.2"})
    assert len(whole) > 2048
    with pytest.raises(ValueError, match="cut off"):
        files(whole[:end], FOLDER)


@pytest.mark.parametrize("archive", [b"no archive" + bytes(4096), tar(**{"other/complete": b"u1.2"})])
def test_something_else_is_none(archive):
    with pytest.raises(ValueError, match=r"archive"):
        files(archive, FOLDER)


def header(size: bytes, kind: bytes = b"0", name: str = "capk/complete") -> bytes:
    """Return the header of an entry with any size."""
    head = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    head[124:136], head[156:157], head[148:156] = size, kind, b" " * 8
    head[148:156] = b"%06o\0 " % sum(head[:512])
    return bytes(head[:512])


BACK = b"\xff" * 10 + b"\xfe\x00"
"""-512, as GNU tar writes it."""


@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"S"])
@pytest.mark.parametrize("size", [BACK, b"-0000001000\0", b"\x80" + b"\xff" * 11, b"77777777777\0"])
def test_entry_that_leads_back_or_beyond_the_end_is_no_archive(size, kind):
    """Python's reader would go on for ever."""
    claim = header(b"00000000000\0", b"5", "capk/claim")
    with pytest.raises(ValueError, match="archive"):
        files(claim + header(size, kind) + bytes(1024), FOLDER)


def test_facts_about_an_entry_are_passed_over():
    """docker writes them for large numbers and long names; Python's reader takes hours for these."""
    facts = b"2 " * 100_000 + b"="
    padding = bytes(-len(facts) % 512)
    whole = tar(**{"capk/claim": None, "capk/complete": b"u1.2"})
    assert files(header(b"%011o\0" % len(facts), b"x") + facts + padding + whole, FOLDER) == files(whole, FOLDER)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("deep", ["capk/claim/u1.2", "a" * 90 + "/capk/complete"])
def test_both_formats_of_archives_are_read(form, deep):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as archive:
        entry = tarfile.TarInfo(deep)
        entry.size, entry.uid, entry.mtime = 5, 2**40, 1.5
        archive.addfile(entry, io.BytesIO(b"hello"))
    assert list(files(whole.getvalue(), FOLDER).values()) == ["hello"]


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_refused(content):
    with contextlib.suppress(ValueError):
        files(content + bytes(1024), FOLDER)
