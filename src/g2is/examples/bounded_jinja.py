"""transformers' sandbox for chat templates, with bounds (`bounds.py`): what it renders is the same."""

import threading
import types
from collections.abc import Callable, Iterable, Iterator
from functools import cache, update_wrapper
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace, _PassArg
from jinja2.visitor import NodeTransformer
from transformers.utils import chat_template_utils

from g2is.examples.bounds import (
    Budget,
    LimitError,
    check_arguments,
    check_format,
    check_operation,
    check_replace,
    check_value,
    counted,
)

_LONGEST_SOURCE = 500_000  # characters of a template; those of models have some thousands
_TICK, _JOIN, _MADE = "g2is-tick", "g2is-join", "g2is-made"  # no template can name a filter with a dash
# Methods and filters that make no more than they are given, whatever their arguments say.
_PLAIN_METHODS = {
    *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "split", "rsplit", "splitlines", "partition"),
    *("rpartition", "startswith", "endswith", "find", "rfind", "index", "rindex", "count", "upper", "lower", "title"),
    *("capitalize", "swapcase", "casefold", "isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower"),
    *("isnumeric", "isdecimal", "get", "items", "keys", "values", "copy", "encode", "decode"),
}
_PLAIN_FILTERS = {
    *("trim", "upper", "lower", "capitalize", "title", "length", "count", "string", "safe", "e", "escape"),
    *("default", "d", "first", "last", "list", "items", "attr", "int", "float", "abs", "select", "reject"),
    *("selectattr", "rejectattr", "sort", "dictsort", "unique", "reverse", "min", "max", "wordcount"),
}
_WITHOUT_LOOP = {"length", "count", "first", "default", "d", "attr", "tojson", "string", "items"}
_SMALL_ALONE = {"urlize", "striptags", "pprint", "xmlattr", "wordwrap"}  # may take time beyond the length's
_SMALL = 100_000
_MOST_INDENT = 16
_MOST_DECIMALS = 100
_UNCOUNTED = 1000  # characters: shorter texts are counted where they are joined

_local = threading.local()


def bounded(given: Any, do: Callable[..., Any], **named: Any) -> Any:
    """What `do` gives; all that templates do in it, in this thread, comes out of one budget for rendering `given`."""
    before = getattr(_local, "budget", None)
    _local.budget = Budget(given)
    try:
        return do(**named)
    finally:
        _local.budget = before


def _budget() -> Budget:
    budget: Budget = _local.budget
    return budget


@cache
def compile_bounded(source: str) -> Template:
    """The template `source` as transformers compiles it, with bounds: to be rendered in `bounded`.

    Raises jinja2's errors as it does, and LimitError for a source that no model's is as long as.
    """
    if len(source) > _LONGEST_SOURCE:
        raise LimitError(f"is {len(source)} characters long")
    theirs = chat_template_utils._cached_compile_jinja_template("").environment  # made anew with each call
    ours = _Bounded(
        trim_blocks=theirs.trim_blocks,
        lstrip_blocks=theirs.lstrip_blocks,
        extensions=[type(extension) for extension in theirs.extensions.values()],
    )
    ours.globals.update({name: value for name, value in theirs.globals.items() if name != "lipsum"})
    ours.globals.pop("lipsum", None)  # as much text as is asked for
    ours.filters.update({name: _guarded(name, filter_) for name, filter_ in theirs.filters.items()})
    ours.filters.update({_TICK: _tick, _JOIN: _join, _MADE: _made})
    template: Template = bounded(source, ours.from_string, source=source)
    render = template.root_render_func

    def counting(context: Any) -> Iterator[str]:
        budget, num = _budget(), 0
        for part in render(context):
            num += len(part)
            if num > _UNCOUNTED:
                budget.make(num)
                num = 0
            yield part

    template.root_render_func = counting
    return template


def _make_render() -> Callable[..., Any]:
    theirs = chat_template_utils.render_jinja_template
    names = {**theirs.__globals__, "_compile_jinja_template": compile_bounded}
    ours = types.FunctionType(theirs.__code__, names, theirs.__name__, theirs.__defaults__, theirs.__closure__)
    ours.__kwdefaults__ = theirs.__kwdefaults__
    return ours


_render = _make_render()  # transformers' `render_jinja_template` with `compile_bounded` in place of its own compiler


def render_bounded(conversations: list[Any], **named: Any) -> Any:
    """What transformers' `render_jinja_template` gives. Raises LimitError where it would hardly end."""
    return bounded([conversations, named.get("tools")], _render, conversations=conversations, **named)


class _Bounded(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=_finalize)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join what a macro or block has written."""
        parts = list(parts)
        _budget().make(sum(map(len, parts)))
        return "".join(parts)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Guarding().visit(super()._parse(source, name, filename))
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Carry out an operator whose result may be larger than its operands."""
        if operator == "+" and type(left) is str and type(right) is str:  # the usual one
            if (num := len(left) + len(right)) > _UNCOUNTED:
                _budget().make(num)
            return left + right
        check_operation(operator, left, right, _budget())
        result = self.binop_table[operator](left, right)
        if isinstance(result, str):
            _budget().make(len(result))
        return result

    def call(__self, __context: Any, __called: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call what a template calls."""
        budget = _budget()
        budget.step()
        if type(__called) is types.BuiltinMethodType and __called.__name__ in _PLAIN_METHODS:
            owner = __called.__self__
            if type(owner) is str or type(owner) is dict:  # whose methods of these names are all safe
                kwargs.pop("_loop_vars", None)  # jinja2's own
                kwargs.pop("_block_vars", None)
                return _counted_result(__called(*args, **kwargs), budget)
        name = getattr(__called, "__name__", "")
        owner = getattr(getattr(__called, "__wrapped__", __called), "__self__", None)
        known = isinstance(__called, Macro | LoopContext) or __called is safe_range or name in _PLAIN_METHODS
        if isinstance(__called, LoopContext):
            budget.step(sum(len(of) for of in args if hasattr(of, "__len__")))
        if name in ("format", "format_map") and isinstance(owner, str):
            check_format(owner, (*args, *kwargs.values()), budget)
        elif name == "replace" and isinstance(owner, str) and len(args) >= 2:
            check_replace(owner, args[0], args[1], budget)
        elif name == "join" and isinstance(owner, str) and len(args) == 1:
            texts = list(counted(args[0], _budget))
            check_arguments(owner, (len(texts),), budget)
            budget.allow(sum(map(len, texts)))
            args = (texts,)
        elif not known and (args or kwargs) and not isinstance(__called, type):
            check_arguments(owner if isinstance(owner, str | bytes | int) else "", (*args, *kwargs.values()), budget)
        result = _counted_result(super().call(__context, __called, *args, **kwargs), budget)
        if not known and isinstance(result, list | tuple | dict | Namespace):
            check_value(result, budget)
        return result


class _Guarding(NodeTransformer):
    """Has a template count the steps of its loops, and look at the values that it makes."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  # jinja2's name
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_filter(nodes.Const(True), _TICK)))
        if node.test is not None:
            node.test = nodes.And(_filter(nodes.Const(True), _TICK), node.test)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(nodes.Tuple(node.nodes, "load"), _JOIN)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._made(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        return node if node.ctx != "load" else self._made(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self._made(node)

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.target, nodes.NSRef) and not isinstance(node.node, nodes.Const):
            node.node = _filter(node.node, _MADE)
        return node

    def _made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        try:
            node.as_const()
        except Exception:  # not known before the template runs
            return _filter(node, _MADE)
        return node


def _filter(node: nodes.Node, name: str) -> nodes.Filter:
    made = nodes.Filter(node, name, [], [], None, None)
    made.set_lineno(1)
    return made


@pass_context  # so that it is not done once and for all when the template is compiled
def _tick(_: Any, value: bool) -> bool:
    budget: Budget = _local.budget
    budget.step()
    return value


def _join(values: tuple[Any, ...]) -> str:
    budget = _budget()
    texts = [of if type(of) is str else str(check_value(of, budget)) for of in values]
    budget.make(sum(map(len, texts)))
    return "".join(texts)


def _made(value: Any) -> Any:
    budget = _budget()
    budget.nests_namespaces |= isinstance(value, Namespace)
    return check_value(value, budget)


def _finalize(value: Any) -> Any:
    if type(value) is str or isinstance(value, int | float | Undefined):
        return value
    return check_value(value, _local.budget)


def _counted_result(result: Any, budget: Budget) -> Any:
    if type(result) is list:
        budget.step(len(result))
    elif isinstance(result, str) and len(result) > _UNCOUNTED:
        budget.make(len(result))
    return result


def _guarded(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, which counts what it takes and makes."""
    num_passed = 0 if _PassArg.from_obj(filter_) is None else 1
    is_plain = not num_passed and name in _PLAIN_FILTERS

    def guarded(*arguments: Any, **named: Any) -> Any:
        budget = _budget()
        budget.step()
        if is_plain and type(arguments[0]) is str:
            return _counted_result(filter_(*arguments, **named), budget)
        value = arguments[num_passed] if len(arguments) > num_passed else None
        rest = (*arguments[num_passed + 1 :], *named.values())
        if type(value) is not str:
            value = _counted_input(name, value, budget)
            arguments = (*arguments[:num_passed], value, *arguments[num_passed + 1 :])
        if name in _SMALL_ALONE:
            check_arguments(value, [budget.most // _SMALL], budget)
        if rest and name not in _PLAIN_FILTERS:
            _check_rest(name, value, rest, named, budget)
        return _counted_result(filter_(*arguments, **named), budget)

    return update_wrapper(guarded, filter_)  # which keeps what jinja2 passes to it


def _counted_input(name: str, value: Any, budget: Budget) -> Any:
    if isinstance(value, Namespace) or budget.nests_namespaces:
        check_value(value, budget)
    if isinstance(value, Iterator):
        value = counted(value, _budget)
    if name == "join" and not isinstance(value, str | list | tuple):
        return list(value)  # what it does itself: now it can be measured
    if name not in _WITHOUT_LOOP and hasattr(value, "__len__"):
        budget.step(len(value))
    return value


def _check_rest(name: str, value: Any, rest: tuple[Any, ...], named: dict[str, Any], budget: Budget) -> None:
    if name == "format" and isinstance(value, str):
        check_format(value, rest, budget)
    elif name == "replace" and len(rest) >= 2:
        check_replace(value, rest[0], rest[1], budget)
    elif name in ("map", "groupby"):
        size = len(value) if hasattr(value, "__len__") else _SMALL
        check_arguments("", (size, *(of for of in named.values() if not isinstance(of, int))), budget)
    else:
        most = {"tojson": _MOST_INDENT, "round": _MOST_DECIMALS}.get(name)
        if most is not None and any(isinstance(of, int) and abs(of) > most for of in rest):
            raise LimitError(f"gives {name} a number beyond {most}")
        lazy = isinstance(value, Iterator)
        check_arguments("" if lazy else value, (*rest, _SMALL) if lazy else rest, budget)
