"""The views and macros of the lake, made again where their definition changed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

from etl import statements
from etl.catalog import object_views, topic_views
from etl.catalog.database import Catalog
from etl.catalog.known import known_schemas
from etl.records import ALERTS
from etl.schema.paths import path_text
from etl.schema.types import EMPTY, TopicSchema
from etl.statements import sql_names, sql_text


def define_views(catalog: Catalog, topics: set[str], root: Path) -> list[str]:
    """Make the views of these topics, of all alerts and of the rejects, where they changed.

    Gives the paths of files that are gone: DuckDB refuses a view of one, which would keep new
    alerts out, so that they are left out until they are back.
    """
    schemas = known_schemas(catalog)
    before: dict[str, str] = dict(catalog.rows("queries/view_digests"))
    digests = dict(before)
    gone: list[str] = []
    for topic in sorted(topics):
        live = catalog.rows("queries/live_files", topic=topic, kind=ALERTS)
        schema = schemas.get(topic, EMPTY)
        gone += _define_there(
            catalog,
            [path for _, path in live],
            partial(_topic_view, topic, schema, live, str(root)),
            digests,
            root,
        )
    paths = [path for (path,) in catalog.rows("queries/live_rejects")]
    gone += _define_there(
        catalog,
        paths,
        lambda there: topic_views.rejects_view(
            [path for path in paths if path in there], str(root)
        ),
        digests,
        root,
    )
    schemas = dict(sorted(schemas.items()))
    union, parts = topic_views.alerts_view(schemas)
    _define_macros(catalog, digests)
    changed = _define(catalog, union, digests)
    made = object_views.generated_views(schemas, union)
    for view in made:
        _define(catalog, view, digests)
    _define_static(catalog, [union, *made], digests)
    catalog.write(
        "register/set_in_alerts",
        [
            {"topic": topic, "path": path_text((name,)), "in_alerts": part}
            for topic in schemas
            for name, part in parts.items()
            if changed or not part  # what is learnt inside a column left out changes no view
        ],
    )
    _explain_columns(catalog, before)
    return gone


def _topic_view(
    topic: str,
    schema: TopicSchema,
    live: Sequence[tuple[int, str]],
    root: str,
    there: Collection[str],
) -> topic_views.View:
    versions: dict[int, list[str]] = {}
    for version, path in live:
        if path in there:
            versions.setdefault(version, []).append(path)
    return topic_views.topic_view(topic, schema, versions, root)


def _define_there(
    catalog: Catalog,
    paths: Sequence[str],
    view_of: Callable[[Collection[str]], topic_views.View],
    digests: Mapping[str, str],
    root: Path,
) -> list[str]:
    """Make a view over files, where it changed, of those that are there; give the others."""
    view = view_of(set(paths))
    if digests.get(view.name) == _digest(_parts(view)):
        return []
    there = {path for path in paths if (root / path).exists()}
    gone = [path for path in paths if path not in there]
    _define(catalog, view_of(there) if gone else view, digests)
    return gone


def _explain_columns(catalog: Catalog, before: Mapping[str, str]) -> None:
    """Make the dictionary if its text changed, and have the columns of all views say what it says.

    A view that is made again has lost its comments, so that this comes after all views.
    """
    text = sql_text("dictionary/dictionary")
    if _is_new(catalog, "etl.dictionary", [text], before):
        catalog.define(text)
    if dict(catalog.rows("queries/view_digests")) == before:
        return  # nothing was made, so that no column has lost its comment
    for schema, view, column, comment in catalog.rows("queries/comments_due"):
        name = f"{statements.quoted(schema)}.{statements.quoted(view)}"
        catalog.define(topic_views.comment_statement(name, column, comment))


def _define_macros(catalog: Catalog, digests: dict[str, str]) -> None:
    """Make what sql/macros says, where it changed.

    DuckDB binds a table macro when it is made, too, and then refuses one with a parameter that is
    called like a column. Alerts may have any field, so macros meet the views of a lake without
    topics; those are forgotten, and made anew for this lake. Table macros call the others.
    """
    texts = sorted(map(sql_text, sql_names("macros")), key=lambda text: ") AS TABLE\n" in text)
    if _is_new(catalog, "sql/macros", texts, digests):
        bare, _ = topic_views.alerts_view({})
        base = [bare, *object_views.generated_views({}, bare)]
        for view in base:
            _define(catalog, view, {})
        _define_static(catalog, base, {})
        for text in texts:
            catalog.define(text)
        digests.clear()


def _define_static(
    catalog: Catalog, base: Sequence[topic_views.View], digests: Mapping[str, str]
) -> None:
    """Make what sql/views says, where that changed, or a column that it builds on.

    DuckDB refuses a view whose base got other columns since.
    """
    names = sql_names("views")
    texts = [sql_text(name) for name in names]
    columns = [f"{each.name} {list(each.columns.items())}" for each in base]
    if _is_new(catalog, "sql/views", [*names, *texts, *columns], digests):
        for name, text in zip(names, texts, strict=True):
            catalog.define(f"CREATE OR REPLACE VIEW {name.removeprefix('views/')} AS {text}")


def _define(catalog: Catalog, view: topic_views.View, digests: Mapping[str, str]) -> bool:
    """Make a view if its text or its columns are not those of last time."""
    if not _is_new(catalog, view.name, _parts(view), digests):
        return False
    for statement in view.statements():
        catalog.define(statement)
    return True


def _parts(view: topic_views.View) -> list[str]:
    return [*view.statements(), *(f"{name} {kind}" for name, kind in view.columns.items())]


def _digest(parts: Sequence[str]) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _is_new(catalog: Catalog, name: str, parts: Sequence[str], digests: Mapping[str, str]) -> bool:
    """Say whether what something is made of is not that of last time, and note it."""
    digest = _digest(parts)
    if digests.get(name) == digest:
        return False
    catalog.write("register/set_view", [{"name": name, "digest": digest}])
    return True
