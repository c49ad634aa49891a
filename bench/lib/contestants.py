"""Who is measured: the folder with its tables, and the script that it runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    label: str
    folder: str
    script: str
    writes: int = 0  # entries of :writes
    batch: int = 0  # events that a call adds, if not as many as in the rest of the cell
    retry: str = ""  # conflicts after which the call begins anew
    needs: str = ""  # a function; left out where it is missing


def _ours(label, script, **more):
    return Contestant(label, "eventstore", script, **more)


FLOOR = Contestant("floor", "floor", "insert")
HAND_INSERT = Contestant("hand-insert", "hand-insert", "insert")
HAND_INSERT_NEW = Contestant("hand-insert", "hand-insert", "new")
HAND_CTE = Contestant("hand-cte", "hand", "cte")
HAND_CTE_PLAIN = Contestant("hand-cte-plain", "hand", "cte-plain")
HAND_CTE_NEW = Contestant("hand-cte", "hand", "cte-new")
HAND_FN = Contestant("hand-fn", "hand", "fn")
HAND_FN_NEW = Contestant("hand-fn", "hand", "fn-new")
HAND_FN_ANY = Contestant("hand-fn", "hand", "fn-any")
INSERT_SELECT = Contestant("insert-select", "bare", "insert-select")

# The designs of existing libraries, restated.
LIBRARIES = (
    Contestant("category-lock", "category-lock", "append"),
    Contestant("one-category-lock", "category-lock", "append-in-one"),
    Contestant("table-lock", "table-lock", "append"),
    Contestant("counter-row", "counter-row", "append"),
    Contestant("serializable", "serializable", "append", retry="40001"),
    Contestant("notify", "notify", "insert"),
    Contestant("stream-row", "stream-row", "append"),
)

ES_APPEND = _ours("es_append", "es_append")
ES_TRY_APPEND = _ours("es_try_append", "es_try_append")
ES_APPEND_MANY = _ours("es_append_many", "es_append_many", writes=1)
ES_APPEND_EACH = _ours("es_append_each", "es_append_each", writes=1)
ES_LOCK = _ours("es_lock + es_append", "es_lock")
ES_EXECUTE = _ours("es_execute", "es_execute", needs="es_execute")
ES_NEW = _ours("es_append", "new")
ES_ANY = _ours("es_append", "any")

# On one aggregate, which everybody appends to.
HOT = (
    ES_ANY,
    ES_EXECUTE,
    _ours("es_lock + es_append", "es_lock"),
    _ours("es_append, retried", "retry", retry="VE001"),
    HAND_FN_ANY,
    Contestant("lock + hand-fn", "hand", "locked"),
    Contestant("hand-fn, retried", "hand", "fn-retry", retry="HC001"),
    Contestant("hand-cte, retried", "hand", "cte-retry", retry="none"),
    Contestant("hand-insert, retried", "hand-insert", "retry", retry="23505"),
    Contestant("category-lock", "category-lock", "any"),
)
