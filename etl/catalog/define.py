"""The views and macros of the lake, made again where their definition changed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import product
from pathlib import Path

from etl.catalog import object_views, topic_views
from etl.catalog.database import Catalog
from etl.catalog.known import known_schemas
from etl.catalog.topic_views import View
from etl.records import ALERTS
from etl.schema.paths import path_text
from etl.schema.types import EMPTY, TopicSchema
from etl.statements import quoted, sql_names, sql_text

Schemas = Mapping[str, TopicSchema]
Digests = dict[str, str]  # what is defined: of each name, the digest of its text
Paths = Sequence[str]


def define_views(catalog: Catalog, topics: set[str], root: Path) -> list[str]:
    """Make the views of these topics, of all alerts and of the rejects, where they changed.

    Returns
    -------
    list of str
        The paths of missing files. Views leave them out until they are back: DuckDB refuses a view
        of a missing file, which would keep new alerts out too.
    """
    schemas = dict(sorted(known_schemas(catalog).items()))
    before: Digests = dict(catalog.rows("queries/view_digests"))
    digests = dict(before)
    _define_macros(catalog, digests)
    missing = _define_file_views(catalog, topics, schemas, digests, root)
    union, parts = topic_views.alerts_view(schemas)
    changed = _define(catalog, union, digests)
    generated = object_views.generated_views(schemas, union)
    for view in generated:
        _define(catalog, view, digests)
    _define_static(catalog, [union, *generated], digests)
    for topic, (name, part) in product(schemas, parts.items()):
        if changed or not part:  # a new field inside a column left out changes no view
            field = {"topic": topic, "path": path_text((name,)), "in_alerts": part}
            catalog.write("register/set_in_alerts", [field])
    _define_dictionary(catalog, digests)
    new = {name: digest for name, digest in digests.items() if before.get(name) != digest}
    if new:
        _explain_columns(catalog)
        catalog.write("register/set_views", [{"names": [*new], "digests": [*new.values()]}])
    return missing


def _define_file_views(
    catalog: Catalog, topics: set[str], schemas: Schemas, digests: Digests, root: Path
) -> list[str]:
    """Make the views that name files, of the files that are there; return the others' paths."""
    missing: list[str] = []
    for topic in sorted(topics):
        live = catalog.rows("queries/live_files", topic=topic, kind=ALERTS)
        view_of = partial(_topic_view, topic, schemas.get(topic, EMPTY), live, str(root))
        missing += _define_of(catalog, [path for _, path in live], view_of, digests, root)
    rejects = [path for (path,) in catalog.rows("queries/live_rejects")]
    view_of_rejects = partial(topic_views.rejects_view, root=str(root))
    return missing + _define_of(catalog, rejects, view_of_rejects, digests, root)


def _topic_view(
    topic: str, schema: TopicSchema, live: Sequence[tuple[int, str]], root: str, paths: Paths
) -> View:
    there = set(paths)
    versions: dict[int, list[str]] = {}
    for version, path in live:
        if path in there:
            versions.setdefault(version, []).append(path)
    return topic_views.topic_view(topic, schema, versions, root)


def _define_of(
    catalog: Catalog, paths: Paths, view_of: Callable[[Paths], View], digests: Digests, root: Path
) -> list[str]:
    """Make a view of files, where it changed, without the missing ones; return their paths."""
    view = view_of(paths)
    if digests.get(view.name) == _digest(_parts(view)):
        return []
    missing = [path for path in paths if not (root / path).exists()]
    there = [path for path in paths if path not in missing]
    _define(catalog, view_of(there) if missing else view, digests)
    return missing


def _define_dictionary(catalog: Catalog, digests: Digests) -> None:
    """Make the dictionary if its text changed."""
    text = sql_text("dictionary/dictionary")
    if _is_new("etl.dictionary", [text], digests):
        catalog.define(text)


def _explain_columns(catalog: Catalog) -> None:
    """Comment on the columns of views that have no comment, with the dictionary.

    A view that is made again has lost its comments, so that this comes after all views.
    """
    for schema, view, column, comment in catalog.rows("queries/comments_due"):
        name = f"{quoted(schema)}.{quoted(view)}"
        catalog.define(topic_views.comment_statement(name, column, comment))


def _define_macros(catalog: Catalog, digests: Digests) -> None:
    """Make the macros of sql/macros, where one changed.

    DuckDB binds a table macro when it is made, and refuses one with a parameter that is called like
    a column. Alerts may have any field. So macros are made over the views of a lake without topics,
    and then the views are made again for this lake. Table macros call the others and come last.
    """
    texts = sorted(map(sql_text, sql_names("macros")), key=lambda text: ") AS TABLE\n" in text)
    if _is_new("sql/macros", texts, digests):
        bare, _ = topic_views.alerts_view({})
        base = [bare, *object_views.generated_views({}, bare)]
        for view in base:
            _define(catalog, view, {})
        _define_static(catalog, base, {})
        for text in texts:
            catalog.define(text)
        made = digests["sql/macros"]
        digests.clear()  # all views are made again
        digests["sql/macros"] = made


def _define_static(catalog: Catalog, base: Sequence[View], digests: Digests) -> None:
    """Make the views of sql/views, where one changed, or a column of a view in `base`.

    DuckDB refuses a view when the columns of its base have changed since it was made.
    """
    names = sql_names("views")
    texts = [sql_text(name) for name in names]
    columns = [f"{each.name} {list(each.columns.items())}" for each in base]
    if _is_new("sql/views", [*names, *texts, *columns], digests):
        for name, text in zip(names, texts, strict=True):
            catalog.define(f"CREATE OR REPLACE VIEW {name.removeprefix('views/')} AS {text}")


def _define(catalog: Catalog, view: View, digests: Digests) -> bool:
    """Make a view if its text or its columns changed; return whether they did."""
    if not _is_new(view.name, _parts(view), digests):
        return False
    for statement in view.statements():
        catalog.define(statement)
    return True


def _parts(view: View) -> list[str]:
    return [*view.statements(), *(f"{name} {kind}" for name, kind in view.columns.items())]


def _digest(parts: Sequence[str]) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _is_new(name: str, parts: Sequence[str], digests: Digests) -> bool:
    """Return whether a definition changed, and keep its digest if so."""
    digest = _digest(parts)
    if digests.get(name) == digest:
        return False
    digests[name] = digest
    return True
