"""A NIR graph as a chain of nodes: subgraphs are unpacked, recurrent connections are found.

Networks here are chains of layers. A layer may have a recurrent connection: a node of weights that
takes the spikes of a node of neurons, and nothing else, and leads back to it.
"""

import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from sast_jax.data import hdf5
from sast_jax.errors import InputError, UnsupportedError, needed

nir: Any = needed("nir", "export")


class Link(NamedTuple):
    """A node of a chain.

    Attributes:
      name: in the graph, with that of its subgraph before it.
      node: of NIR.
      recurrent: name and node of the weights that lead from its neurons back to them.
    """

    name: str
    node: Any
    recurrent: tuple[str, Any] | None = None


def read(path: pathlib.Path) -> Any:
    """Reads a file.

    Raises:
      InputError: it cannot be read as a NIR graph.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a NIR file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with hdf5.opened(path) as (file, data):
            hdf5.require_whole(file, data)
        graph = nir.read(path)
    except Exception as error:  # whatever a damaged file raises
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: not a NIR file that can be read ({reason})") from error
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(
            f"{path}: holds a single node of NIR, {type(graph).__name__}, and no graph"
        )
    return graph


def chain(graph: Any) -> list[Link]:
    """The nodes from input to output, these included.

    Raises:
      InputError: there is no single input or output, or a node is not reached.
      UnsupportedError: the graph is no chain.
    """
    nodes, edges = _unpacked(graph)
    ends = {}
    for kind in (nir.Input, nir.Output):
        found = [name for name, node in nodes.items() if isinstance(node, kind)]
        if len(found) != 1:
            raise InputError(
                f"has {len(found)} nodes {kind.__name__} ({', '.join(found) or 'none'}); a network "
                "here has one, with edges from the input to the output"
            )
        ends[kind] = found[0]
    after: dict[str, list[str]] = {name: [] for name in nodes}
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        if unknown := {source, target} - nodes.keys():
            raise InputError(f"an edge names the node {min(unknown)!r}, which is not there")
        after[source].append(target)
        before[target].append(source)
    loops = {
        name: own[0]
        for name, own in after.items()
        if len(own) == 1 and before[name] == own and own[0] != name
    }
    links: list[Link] = []
    name, last = ends[nir.Input], None
    while True:
        back = [loop for loop, neurons in loops.items() if neurons == name]
        if len(back) > 1:
            raise UnsupportedError(f"node {name!r} has several recurrent connections: {back}")
        recurrent = (back[0], nodes[back[0]]) if back else None
        links.append(Link(name, nodes[name], recurrent))
        others = [source for source in before[name] if source not in (last, *back)]
        following = [target for target in after[name] if target not in back]
        if others or len(following) > 1 or name in following:
            several = others or following
            raise UnsupportedError(
                f"node {name!r} is joined to several others ({', '.join(several)}); networks here "
                "are chains of layers, with recurrent connections of single layers"
            )
        if name == ends[nir.Output]:
            break
        if not following or following[0] in [link.name for link in links]:
            raise InputError(f"node {name!r} leads nowhere; the output is not reached")
        last, name = name, following[0]
    reached = {link.name for link in links} | {
        link.recurrent[0] for link in links if link.recurrent
    }
    if rest := sorted(set(nodes) - reached):
        raise UnsupportedError(f"node {rest[0]!r} is not on the way from the input to the output")
    return links


def _unpacked(graph) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges, with those of subgraphs in the place of these, and each edge once."""
    nodes, edges = dict(graph.nodes), list(dict.fromkeys(map(tuple, graph.edges)))
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            continue
        inner, joined = _unpacked(node)
        del nodes[name]
        nodes |= {f"{name}.{own}": one for own, one in inner.items()}
        own_edges = [(f"{name}.{a}", f"{name}.{b}") for a, b in joined]
        doors = {kind: [own for own, one in inner.items() if isinstance(one, kind)]
                 for kind in (nir.Input, nir.Output)}  # fmt: skip
        if any(len(found) != 1 for found in doors.values()):
            raise UnsupportedError(f"the subgraph {name!r} has several inputs or outputs, or none")
        entry, way_out = (f"{name}.{doors[kind][0]}" for kind in (nir.Input, nir.Output))
        edges = [(way_out if a == name else a, entry if b == name else b) for a, b in edges]
        edges = _bridged([*edges, *own_edges], (entry, way_out))
        del nodes[entry], nodes[way_out]
    return nodes, edges


def _bridged(edges: list[tuple[str, str]], gone: Iterable[str]) -> list[tuple[str, str]]:
    """The edges without some nodes, through which they lead on."""
    for name in gone:
        sources = [a for a, b in edges if b == name]
        targets = [b for a, b in edges if a == name]
        edges = [edge for edge in edges if name not in edge]
        edges += [(a, b) for a in sources for b in targets]
    return edges
