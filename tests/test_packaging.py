import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("evf_sam_cli", "modeling_evf_sam")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path):
    source = tmp_path / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    files = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).glob("**/*")
        if path.is_file()
    }
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("evf_sam-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert files - names == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {*PACKAGES, "evf_sam"}
