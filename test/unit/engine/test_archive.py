"""What an engine hands out of a container: a whole folder, or nothing that counts."""

import io
import tarfile

import pytest

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
