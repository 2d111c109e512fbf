"""Lakes that were moved, lost a part, hold strangers' files, or can't be written."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import SMALL_STEPS, Fault, drain
from tests.flow.readers import notebook, reading
from tests.sampling import one_in

NOBODY = 65534 if os.geteuid() == 0 else None


@pytest.fixture
def shared_folder():
    """Return a folder that any user can write, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="lake-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def check(broker, lake, topic, **options):
    """Check one topic in its first incarnation."""
    return checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}, **options)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what is below a folder, and whether it changed: sizes and times, but for the lock."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


# ------------------------------------------------------------------------------ lost catalog


@pytest.mark.parametrize("uid", [None, NOBODY], ids=["as this user", "as an ordinary user"])
def test_lake_without_its_catalog_is_refused_and_the_way_out_works(
    kafka, broker, topic, shared_folder, uid
):
    """Files without a catalog are 78 with nothing touched; the way out that is named works."""
    lake = shared_folder / "lake"
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic, uid=uid)
    (lake / "catalog.duckdb").unlink()
    kafka.publish(topic, small_alerts(20))
    before = tree(lake)
    refused = drain(broker, lake, topic, code=78, uid=uid)
    assert tree(lake) == before
    assert "copy alerts.duckdb to catalog.duckdb" in refused.err
    subprocess.run(["cp", "alerts.duckdb", "catalog.duckdb"], cwd=lake, check=True, user=uid)
    drain(broker, lake, topic, uid=uid)
    assert check(broker, lake, topic).alerts == 40


@pytest.mark.parametrize(
    "fault",
    one_in(
        3,
        [
            Fault("etl.catalog.checkpoint:checkpoint", call=2),
            Fault("etl.catalog.publication:publish_copy", call=3),
            Fault("etl.lake.land:land", call=3),
        ],
    ),
    ids=str,
)
def test_catalog_lost_by_a_killed_run_doubles_nothing_after_the_way_out(
    kafka, broker, topic, lake, fault
):
    """The catalog as last published is a step behind at most, and what it lacks is read again."""
    kafka.publish(topic, small_alerts(120))
    drain(broker, lake, topic, code=-9, faults=[fault], tuning=SMALL_STEPS)
    for path in lake.glob("catalog.duckdb*"):
        path.unlink()
    drain(broker, lake, topic, code=78)
    shutil.copy(lake / "alerts.duckdb", lake / "catalog.duckdb")
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 120


def test_lake_without_catalog_and_published_file_names_another_way_out(
    kafka, broker, topic, lake, tmp_path
):
    """With nothing left but the files, the way out is a new lake; the files stay."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    (lake / "catalog.duckdb").unlink()
    (lake / "alerts.duckdb").unlink()
    before = tree(lake)
    refused = drain(broker, lake, topic, code=78)
    assert "new lake under a new group_id" in refused.err
    assert tree(lake) == before
    drain(broker, tmp_path / "new", topic, group_id="new")
    assert check(broker, tmp_path / "new", topic).alerts == 20


def test_catalog_that_is_no_database_is_78_and_nothing_is_touched(kafka, broker, topic, lake):
    """A damaged catalog is named, and neither replaced nor followed by a fresh start."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    (lake / "catalog.duckdb").write_bytes(b"not a database" * 1000)
    before = tree(lake)
    refused = drain(broker, lake, topic, code=78)
    assert "catalog.duckdb" in refused.err
    assert tree(lake) == before


def test_published_file_that_is_gone_comes_back(kafka, broker, topic, lake):
    """A deleted published file is there again after the next drain, with nothing new too."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    (lake / "alerts.duckdb").unlink()
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 20


def test_alerts_go_on_arriving_beside_a_file_that_is_gone(kafka, broker, topic, lake):
    """A deleted file is told with 65 in each run, and the views are without it until it is back."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    gone = next((lake / "data").rglob("*.parquet"))
    gone.rename(lake / "kept")
    for new in (20, 0):
        kafka.publish(topic, small_alerts(new))
        finished = drain(broker, lake, topic, code=65)
        assert gone.name in finished.output
        assert finished.closing["exit_code"] == 65
        with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
            assert public.sql(f'SELECT count(*) FROM "{topic}"').fetchall() == [(20,)]
            last = "SELECT exit_code, message FROM etl.runs ORDER BY started_at DESC LIMIT 1"
            ((code, message),) = public.sql(last).fetchall()
        assert code == 65
        assert gone.name in message
    (lake / "kept").rename(gone)
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 40


# ---------------------------------------------------------------------------------- moved lake


@pytest.mark.parametrize("new", one_in(2, [10, 0]))
def test_moved_lake_is_republished_by_the_next_drain(kafka, broker, topic, lake, tmp_path, new):
    """A moved lake is read at its new place after the next drain; no view names the old one."""
    kafka.publish(topic, [*small_alerts(20), b"no json"])
    drain(broker, lake, topic)
    moved = lake.rename(tmp_path / 'it\'s "elsewhere"')
    kafka.publish(topic, small_alerts(new))
    drain(broker, moved, topic)
    assert check(broker, moved, topic).alerts == 20 + new
    with duckdb.connect(str(moved / "alerts.duckdb"), read_only=True) as public:
        texts = public.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        assert public.execute("SELECT root FROM etl.lake").fetchall() == [(str(moved),)]
    assert texts
    assert not any(f"{lake}/" in text for (text,) in texts)


def test_public_root_is_what_the_views_name(kafka, broker, topic, lake, tmp_path):
    """Readers who see the lake under another path get views that name that one."""
    elsewhere = tmp_path / "mounted"
    elsewhere.symlink_to(lake)
    config = tmp_path / "settings.toml"
    config.write_text(f'public_root = "{elsewhere}"\n', encoding="utf-8")
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    drain(broker, lake, topic, config=config)
    assert check(broker, lake, topic).alerts == 20
    with duckdb.connect(str(elsewhere / "alerts.duckdb"), read_only=True) as public:
        (text,) = public.execute(
            "SELECT sql FROM duckdb_views() WHERE view_name = ?", [topic]
        ).fetchall()[0]
    assert f"{elsewhere}/data/" in text
    assert f"{lake}/" not in text
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 20


def test_public_root_that_is_not_this_lake_is_78(kafka, broker, topic, lake, tmp_path):
    """A public_root that leads elsewhere is refused before anything is read."""
    config = tmp_path / "settings.toml"
    config.write_text(f'public_root = "{tmp_path}"\n', encoding="utf-8")
    refused = drain(broker, lake, topic, code=78, config=config)
    assert "public_root" in refused.err


@pytest.mark.parametrize("folder", ["year=2026", "night=2020-01-01"])
def test_lake_below_a_folder_that_duckdb_takes_for_a_column_is_78(broker, topic, tmp_path, folder):
    """A path that would give every alert a column of its own is refused before it is made."""
    refused = drain(broker, tmp_path / folder / "lake", topic, code=78)
    assert folder in refused.err
    assert not (tmp_path / folder).exists()


# ------------------------------------------------------------------------------- strangers' files


def test_unknown_files_are_never_deleted_and_never_seen(kafka, broker, topic, lake):
    """Only a killed run's own files are swept; whatever else lies in the lake stays, unseen."""
    kafka.publish(topic, small_alerts(40))
    drain(broker, lake, topic)
    folder = next((lake / "data").glob("*/*"))
    strangers = [
        folder / "20200101T000000Z-0badcafe-1.parquet",
        folder / ".20200101T000000Z-0badcafe-1.parquet.tmp",
        folder / "mine.parquet",
        folder / "notes.txt",
        lake / "data" / "readme.md",
        lake / "data" / "kafka_topic=other" / "night=2026-02-13" / "x.parquet",
        lake / "mine.duckdb",
    ]
    content = next(folder.glob("*.parquet")).read_bytes()
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    kafka.publish(topic, small_alerts(40))
    drain(broker, lake, topic, code=-9, faults=[Fault("etl.lake.land:land")])
    left = set(checker.unregistered(lake))
    drain(broker, lake, topic)
    assert all(path.read_bytes() == content for path in strangers)
    assert check(broker, lake, topic).alerts == 80
    known = {path.relative_to(lake).as_posix() for path in strangers}
    swept = left - set(checker.unregistered(lake))
    assert swept == left - known
    assert len(swept) == 1


# ------------------------------------------------------------------------- not writable, or full


@contextmanager
def mounted(folder: Path, size: str):
    """Mount a small file system of its own; skips where that is not allowed."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs takes root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_file_in_the_way_of_the_lake_is_74(broker, topic, tmp_path):
    """A lake that can't be made is 74, in one sentence that names it."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for lake in (tmp_path / "file", tmp_path / "file" / "lake", Path("/proc/lake")):
        refused = drain(broker, lake, topic, code=74)
        assert str(lake) in refused.err
        assert "Traceback" not in refused.output


def test_lake_of_another_user_is_74(kafka, broker, topic, shared_folder):
    """A lake that this user may not write is 74 and stays as it is."""
    if NOBODY is None:
        pytest.skip("running as another user takes root")
    lake = shared_folder / "lake"
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    kafka.publish(topic, small_alerts(20))
    before = tree(lake)
    refused = drain(broker, lake, topic, code=74, uid=NOBODY)
    assert str(lake) in refused.err
    assert tree(lake) == before
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 40


def test_read_only_file_system_is_74_and_loses_nothing(kafka, broker, topic, tmp_path):
    """A lake whose file system became read-only is 74; when it is writable again all comes."""
    with mounted(tmp_path / "disk", "32m") as disk:
        lake = disk / "lake"
        kafka.publish(topic, small_alerts(20))
        drain(broker, lake, topic)
        kafka.publish(topic, small_alerts(20))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refused = drain(broker, lake, topic, code=74)
        assert str(lake) in refused.err
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        drain(broker, lake, topic)
        assert check(broker, lake, topic).alerts == 40


@pytest.mark.soak
def test_full_disk_at_any_point_is_74_and_loses_nothing(kafka, broker, topic, tmp_path):
    """Wherever the disk runs full, the run is 74, readers go on, and with space all comes once."""
    refusals = []
    with mounted(tmp_path / "disk", "64m") as disk:
        lake = disk / "lake"
        kafka.publish(topic, small_alerts(40))
        drain(broker, lake, topic)
        total = 40
        with reading(lake):
            for free_kb in (0, 150, 700, 1000, 3000):
                total += kafka.publish(topic, large_alerts(40))
                fill(disk, free_kb)
                refused = drain(broker, lake, topic, code=74)
                refusals.append(refused.err.splitlines()[-1])
                assert "Traceback" not in refused.output
                assert checker.read_catalog(lake).counts[topic] == total - 40
                (disk / "ballast").unlink()
                drain(broker, lake, topic)
                assert checker.read_catalog(lake).counts[topic] == total
        assert check(broker, lake, topic).alerts == total
        assert checker.unregistered(lake) == []
    for place in ("catalog.duckdb", "alerts.duckdb"):  # test_full_disk.py has the others
        assert any(place in refusal for refusal in refusals), f"never full at {place}: {refusals}"


def large_alerts(size: int) -> list[bytes]:
    """Make alerts of 20 kB each that can't be compressed to less than half."""
    return [
        b'{"n": %d, "text": "%s"}' % (n, os.urandom(10_000).hex().encode()) for n in range(size)
    ]


def fill(disk: Path, free_kb: int) -> None:
    """Leave so much space on a file system."""
    with (disk / "ballast").open("wb") as ballast:
        free = os.statvfs(disk)
        ballast.truncate(0)
        os.posix_fallocate(
            ballast.fileno(), 0, max(1, free.f_bavail * free.f_frsize - free_kb * 1024)
        )
        # The kernel counts late where several processors free space: nothing left is nothing.
        with suppress(OSError):
            while not free_kb:
                os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), free.f_frsize)


def test_private_catalog_held_open_by_another_program_is_75(kafka, broker, topic, lake):
    """Someone who has the private catalog open makes the run wait for the next hour, no more."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    kafka.publish(topic, small_alerts(20))
    shutil.copy(lake / "catalog.duckdb", lake / "kept.duckdb")
    with notebook(lake) as held:
        held.ask(f"ATTACH '{lake / 'catalog.duckdb'}' AS mistaken (READ_ONLY)")
        refused = drain(broker, lake, topic, code=75)
    assert "alerts.duckdb" in refused.err
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 40
