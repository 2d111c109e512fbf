import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from etl.astro import BAND_ON_DARK, BAND_ON_LIGHT
from etl.catalog import define
from etl.lake.layout import Lake
from etl.read.published import Published
from tests.cli.conftest import Run
from tests.flow.drains import clean_environment
from tests.sql.lakes import Writer, alert, altered

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
VOID = frozenset({"meta", "link", "br"})
HOSTILE = (
    "lasair_<script>alert(1)<!--",
    "lasair_\"quoted' onload",
    "lasair_{{ 7*7 }}&amp;",
    "lasair_\u202egnol" + "x" * 180,
    "lasair_\u05e2\u05d1\u05e8\u05d9\u05ea",
)
EVIL = "</title><script>document.title = 'evil'</script>"


class Page(HTMLParser):
    """Reads a page strictly: every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.heading = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.setdefault(self.heading, [])
        if tag == "tr":
            self.tables[self.heading].append([])
        if tag in {"td", "th"}:
            self.tables[self.heading][-1].append("")
        if tag == "h2":
            self.heading = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "h2":
            self.heading += data
        if {"td", "th"} & {*self.open}:
            self.tables[self.heading][-1][-1] += data

    def tile(self, name: str) -> str:
        """Return the figure of a tile at the top."""
        words = [word for word in map(str.strip, self.text) if word]
        return words[words.index(name) + 1]


Report = Callable[[Lake], Page]


@pytest.fixture
def report(run: Run, tmp_path: Path) -> Report:
    """Return the function that writes a lake's report and reads it."""

    def write(lake: Lake) -> Page:
        result = run("report", "--lake", lake.root, "-o", tmp_path / "report.html")
        assert (result.code, result.out) == (0, ""), result.err
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


@pytest.fixture(scope="module")
def hostile_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake whose names and texts try to break out of the page."""
    writer = Writer(tmp_path_factory.mktemp("hostile") / "<b>&lake")
    for number, topic in enumerate(HOSTILE):
        writer.run(
            [curve(EVIL, "<b>"), curve(f"id{number}", "r"), f"{EVIL} no json".encode(), None],
            topic=topic,
            hours=30 * number,
            lost=2,
        )
    lake = writer.close()
    with altered(lake) as connection:
        connection.execute(
            "UPDATE etl.runs SET state = 'failed', exit_code = 70, message = ? || started_at",
            [EVIL],
        )
        connection.execute("UPDATE etl.gaps SET reason = ?", [EVIL])
    return lake


def curve(name: str, band: str) -> bytes:
    """Make an alert with a place and a light curve."""
    point = '{"midpointMjdTai": %s, "band": "%s", "psfFlux": %s, "psfFluxErr": %s}'
    points = point % (61000.5, band, 900.5, 9.5), point % (61001.5, band, -90.5, "NaN")
    text = (
        '{"objectId": "%s", "UTC": "2026-02-14 13:41:02", "ramean": 10.5, "decmean": -20.5, '
        '"alert": {"diaSourcesList": [%s]}}'
    )
    return (text % (name, ", ".join(points))).encode()


def asked(lake: Lake, statement: str) -> list[tuple[object, ...]]:
    """Ask the lake in SQL, as any reader would."""
    with Published(lake) as published:
        return list(published.ask(statement).rows())


def test_figures_are_those_of_the_lake(report: Report, small_lake: Lake) -> None:
    """Each figure of the page is what a count over the rows gives."""
    page = report(small_lake)
    ((alerts, topics, nights),) = asked(
        small_lake,
        "SELECT count(*), count(DISTINCT kafka_topic), count(DISTINCT night) FROM alerts",
    )
    assert page.tile("alerts stored") == str(alerts)
    assert page.tile("topics") == str(topics)
    assert page.tile("nights") == str(nights)
    assert page.tile("rejects") == str(asked(small_lake, "SELECT count(*) FROM etl.rejects")[0][0])
    assert page.tile("offsets lost") == "3"
    ((objects,),) = asked(small_lake, "SELECT count(DISTINCT object_id) FROM etl.sightings")
    assert page.tile("objects") == str(objects)
    shown = [tuple(row) for row in page.tables["Alerts per night and topic"][1:]]
    assert shown == [
        tuple(map(str, row))
        for row in asked(
            small_lake,
            "SELECT night, count(*), count_if(kafka_topic = 'lasair_one'), "
            "count_if(kafka_topic = 'lasair_two') FROM alerts GROUP BY night ORDER BY night DESC",
        )
    ]


def test_the_account_of_each_night(report: Report, small_lake: Lake) -> None:
    """What lies between rows of one night counts for it; what has none after it, for no night."""
    page = report(small_lake)
    rows = page.tables["The account of each night"]
    assert [row[:7] for row in rows[1:3]] == [
        ["2026-02-15", "4", "4", "0", "0", "0", "1"],
        ["2026-02-14", "24", "20", "1", "0", "3", "1"],
    ]
    assert rows[4] == ["2026-02-14 to 2026-02-15", "0", "1", "lasair_one", "0", "12 to 12"]
    assert (
        "From observing night 2026-02-14 to 2026-02-15 the lake accounts for 29 Kafka offsets of "
        "2 topics: 24 stored alerts, 1 undecodable message, 1 tombstone, 0 offsets without a "
        "message, and 3 lost before they were read"
    ) in " ".join(page.text)


def test_nights_and_undated_offsets_add_up(hostile_lake: Lake, report: Report) -> None:
    """The nights' expected offsets and the undated ones are, together, all that Kafka gave."""
    rows = report(hostile_lake).tables["The account of each night"]
    nights = [row for row in rows if re.fullmatch(r"[\d-]{10}", row[0])]
    undated = [row for row in rows if " to " in row[0]]
    ((expected,),) = asked(hostile_lake, "SELECT sum(next - first) FROM etl.offsets")
    assert len(nights) >= len(HOSTILE)
    assert undated
    assert expected == sum(int(row[1]) for row in nights) + sum(
        int(row[1]) + int(row[2]) for row in undated
    )


def test_nothing_that_was_said_becomes_markup(report: Report, hostile_lake: Lake) -> None:
    """What alerts, topics, runs and folders are called or say is text in the page."""
    page = report(hostile_lake)
    found = {tag for tag, _ in page.elements}
    assert not found & {"script", "img", "iframe", "object", "embed", "form", "base"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    text = "".join(page.text)
    for topic in HOSTILE:
        assert topic.replace("\u202e", "\\u202e") in text
    assert "\u202e" not in text
    assert page.tables["Runs and lag"][0][0] == "exit code"
    assert text.count(EVIL) > len(HOSTILE)  # as an object's id, and in what runs said
    assert "<b>&lake: what the lake holds" in text
    assert page.elements[0] == ("html", {"lang": "en"})


def test_the_page_asks_for_nothing(report: Report, hostile_lake: Lake) -> None:
    """No element loads anything, and the page forbids it besides."""
    page = report(hostile_lake)
    loads = [
        (tag, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "xlink:href", "poster"}
    ]
    assert loads == [("link", "data:,")]
    style = "".join(value or "" for _, each in page.elements for value in each.values())
    assert "url(" not in style + "".join(page.text)
    assert "@import" not in "".join(page.text)
    policies = [a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_pictures_and_tables_can_be_read_aloud(report: Report, hostile_lake: Lake) -> None:
    """Each picture has a title, each head of a table its scope, and no id is there twice."""
    page = report(hostile_lake)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = [a["aria-labelledby"] or "" for _, a in page.elements if "aria-labelledby" in a]
    assert {name for label in labels for name in label.split()} <= {*ids}
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert all("aria-labelledby" in a or a.get("aria-hidden") == "true" for a in pictures)
    assert sum("aria-labelledby" in a for a in pictures) >= 4
    assert all(a.get("scope") for tag, a in page.elements if tag == "th")


def test_light_curves_are_drawn(report: Report, hostile_lake: Lake) -> None:
    """The newest objects have their measurements as points in the colours of their bands."""
    page = report(hostile_lake)
    drawn = [
        a for tag, a in page.elements if tag == "path" and a.get("class") in {"p r", "p other"}
    ]
    points = [a["d"] for a in drawn if a["d"] != "M5 5h0"]  # that one is the legend's
    assert points == ["M5.0 5.0h0M295.0 91.0h0"] * (len(HOSTILE) + 1)
    text = "".join(page.text)
    assert "brightest 24.01 mag" in text
    for colours in (BAND_ON_LIGHT, BAND_ON_DARK):
        assert all(f"--{band}: {colour};" in text for band, colour in colours.items())


def test_an_empty_lake_has_a_report(report: Report, tmp_path: Path) -> None:
    """A lake that has no run, no topic and no alert yet gets a page that says so."""
    writer = Writer(tmp_path / "lake")
    with writer.catalog.transaction():
        define.define_views(writer.catalog, set(), writer.lake.root)
    page = report(writer.close())
    text = " ".join(page.text)
    for result in (
        "No run yet",
        "No alert yet",
        "No topic yet",
        "No object yet",
        "No topic of this",
    ):
        assert result in text
    assert page.tile("alerts stored") == "0"
    assert page.tile("lag at last run") == "unknown"


def test_many_nights_and_topics_stay_readable(report: Report, tmp_path: Path) -> None:
    """Three years of nights are at most 120 bars, a dozen topics at most seven colours."""
    writer = Writer(tmp_path / "lake")
    for number in range(12):
        writer.run([alert(number)], topic=f"lasair_{number:02}", hours=-24.0 * 99 * number)
    page = report(writer.close())
    rows = page.tables["Alerts per night and topic"]
    assert len(rows[0]) == 2 + 7
    assert "6 other topics" in "".join(page.text)
    assert sum(int(row[1]) for row in rows[1:]) == 12
    assert "Each bar stands for 30 nights" in "".join(page.text)


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ("lag = 0", "nothing was left on the broker"),
        ("lag = 7", "7 messages left on the broker"),
        ("lag = NULL", "left on the broker when the last run ended is not known"),
        ("lag = 0, exit_code = 75", "did not end well: 75 try later"),
        ("lag = 0, state = 'failed', exit_code = NULL", "did not end well: killed"),
        ("lag = 0, state = 'open', exit_code = NULL", "at work, or was killed"),
        ("lag = 0, started_at = now()::TIMESTAMP - INTERVAL 27 HOURS", "No run since"),
    ],
)
def test_what_needs_attention_stands_on_top(
    report: Report, tmp_path: Path, change: str, result: str
) -> None:
    """The page begins with what is wrong, and says that all is well only where it is known."""
    writer = Writer(tmp_path / "lake")
    writer.run([alert(1)])
    lake = writer.close()
    with altered(lake) as connection:
        connection.execute("UPDATE etl.runs SET started_at = now()::TIMESTAMP")
        connection.execute(f"UPDATE etl.runs SET {change}")
    text = " ".join(report(lake).text)
    assert result in text
    assert ("The last run ended well, nothing is lost" in text) == (change == "lag = 0")


def test_stdout_gets_the_page_alone(run: Run, small_lake: Lake) -> None:
    """With -o - the page, and nothing else, goes to stdout; one line on stderr says how much."""
    result = run("report", "--lake", small_lake.root, "-o", "-")
    assert result.code == 0
    Page(result.out)
    assert re.fullmatch(r"-: [\d.]+ kB\n", result.err)


def test_what_can_go_wrong_has_its_exit_code(run: Run, small_lake: Lake, tmp_path: Path) -> None:
    """No lake is 78, no -o 64, and a page that can't be written 74, which leaves the older one."""
    out = tmp_path / "report.html"
    out.mkdir()
    assert run("report", "--lake", tmp_path / "none", "-o", "-").code == 78
    assert run("report", "--lake", small_lake.root).code == 64
    assert run("report", "--lake", small_lake.root, "-o", "/dev/null/report.html").code == 74
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_broker_is_left_alone(small_lake: Lake) -> None:
    """The report comes from the published file: the Kafka client is not even loaded."""
    program = (
        "import sys\nfrom etl.cli import console, main\n"
        f"arguments = ['report', '--lake', {str(small_lake.root)!r}, '-o', '-']\n"
        "assert console.run(main.root, arguments) == 0\n"
        "sys.exit('confluent_kafka' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        check=True,
        env=clean_environment(),
    )


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to show the page in")
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_a_browser_shows_it_without_complaint(
    report: Report, hostile_lake: Lake, tmp_path: Path, scheme: int
) -> None:
    """Chromium says nothing on its console, runs nothing, and nothing is wider than a phone."""
    report(hostile_lake)
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<iframe id="f" src="report.html" style="width: 360px; height: 800px"></iframe>'
        '<p id="w"></p>'
        "<script>f.onload = () => { w.textContent = 'wide ' + "
        "f.contentDocument.documentElement.scrollWidth + ' ' + f.contentDocument.title + ' ' + "
        "getComputedStyle(f.contentDocument.body).backgroundColor; }</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--allow-file-access-from-files", "--enable-logging=stderr", "--v=0",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000",
            f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    width, title, colour = re.findall(r"wide (\d+) (.*) (rgb.*?)</p>", done.stdout)[0]
    assert int(width) <= 360
    assert title.startswith("&lt;b&gt;&amp;lake: report of ")
    assert colour == ("rgb(244, 246, 249)" if scheme else "rgb(14, 19, 25)")
