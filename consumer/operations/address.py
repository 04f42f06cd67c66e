"""How a person names a shard: by its id, or with the stream's label before it where two streams have the same id."""

from collections.abc import Collection
from difflib import get_close_matches

from consumer.domain.errors import NotFound
from consumer.domain.leases import Shard

OFFERED = 3


def find_shard(name: str, known: Collection[Shard]) -> Shard:
    """The shard of that name. Raises NotFound, with the nearest names there are."""
    exact = [shard for shard in known if name in (shard.shard_id, str(shard))]
    if len(exact) == 1:
        return exact[0]
    if exact:
        ways = " or ".join(sorted(map(str, exact)))
        raise NotFound(f"{name!r} is a shard of {len(exact)} streams: name {ways}")
    names = sorted({shard.shard_id for shard in known} | {str(shard) for shard in known})
    near = get_close_matches(name, names, n=OFFERED, cutoff=0.3)
    hint = f": the nearest ones are {', '.join(near)}" if near else ", and none like it is known"
    raise NotFound(f"there is no shard {name!r}{hint}")
