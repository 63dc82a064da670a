"""Buckets in Valkey: one script per key, the time of Valkey, nothing lost that the nodes do not know."""

import hashlib
from typing import cast

from isthmus.stream.lane import Lane, LaneAway, LaneRefused, Reply, Word
from isthmus.stream.limits.bucket import Ask, Grant, LimitsAway, grants

PREFIX = "isthmus:limit:"
_NODES = "isthmus:limit-nodes"
NODE_LIVES_S = 3
# The arithmetic is that of `Bucket.draw`, in the same order.
_DRAW = """
local emission, room, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local need, unit, ahead = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local back, back_epoch, seen, lost = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
local gone = {[tonumber(ARGV[11])] = tonumber(ARGV[12])}
gone[tonumber(ARGV[13])] = tonumber(ARGV[14])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch, full, last, before, this = math.floor(now / life), 0, 0, 0, 0
local kept = redis.call('GET', KEYS[1])
if kept then
    local a, b, c, d = string.match(kept, '(%S+) (%S+) (%S+) (%S+)')
    full, last, before, this = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
end
if lost or not kept then full = math.max(full, seen) end
full = math.min(full, now + room * emission)
if epoch < last then
    before, this = before + this, 0
elseif epoch > last then
    full = math.max(full, (last + 1) * life + (before + this) * emission)
    if epoch > last + 1 then
        full = math.max(full, (last + 2) * life + this * emission)
        this = 0
    end
    before, this = this, 0
end
this = math.max(0, this - (gone[epoch] or 0))
before = math.max(0, before - (gone[epoch - 1] or 0))
if back_epoch < epoch - 1 then back = 0 end
full = math.min(full - back * emission + tonumber(ARGV[15]) * emission, now + room * emission)
full = math.max(full, now + (before + this) * emission)
local free = math.floor(room - (full - now) / emission + 1e-9)
local given = math.min(need, math.floor(math.max(0, free) / unit) * unit)
if given < need then
    ahead = 0
else
    ahead = math.max(0, math.min(ahead, free - need, math.floor(room * 0.75) - before - this))
end
this = this + ahead
full = full + (given + ahead) * emission
local state = string.format('%.17g %d %d %d', full, epoch, before, this)
redis.call('SET', KEYS[1], state, 'PX', math.ceil((full - now + 2 * life) / 1000) + 1000)
local wait = 0
if given < need or given + ahead == 0 then
    wait = math.max(0, full + unit * emission - room * emission - now)
end
local level = math.max(0, room - (full - now) / emission)
return string.format('%d %d %.17g %.17g %d %.17g', given, ahead, wait, full, epoch, level)
"""
_COUNT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - tonumber(ARGV[2])))
redis.call('EXPIRE', KEYS[1], 60)
return redis.call('ZCARD', KEYS[1])
"""
_DRAW_SHA = hashlib.sha1(_DRAW.encode(), usedforsecurity=False).hexdigest()


class ValkeyAuthority:
    """Buckets in one Valkey, reached by a lane; each program opens its own."""

    def __init__(self, lane: Lane) -> None:
        """`lane` is opened and closed by whoever made it."""
        self._lane = lane

    @property
    def generation(self) -> int:
        """A number that rises with every connection."""
        return self._lane.connections

    async def draw(self, ask: Ask) -> Grant:
        """Take from a bucket; raises LimitsAway."""
        rate = ask.rate
        arguments: tuple[Word, ...] = (
            rate.emission_us,
            rate.room,
            rate.life_us,
            ask.need,
            ask.unit,
            ask.ahead,
            ask.back,
            ask.back_epoch,
            ask.seen_us,
            int(ask.lost),
            ask.old_epoch,
            ask.old_gone,
            ask.new_epoch,
            ask.new_gone,
            ask.debt,
        )
        answer = cast("bytes", await self._run(_DRAW_SHA, _DRAW, PREFIX + ask.key, arguments))
        return grants([float(each) for each in answer.split()])

    async def nodes(self, node: str) -> int:
        """Say that a node lives, and return how many do; raises LimitsAway."""
        sha = hashlib.sha1(_COUNT.encode(), usedforsecurity=False).hexdigest()
        return cast("int", await self._run(sha, _COUNT, _NODES, (node, NODE_LIVES_S)))

    async def _run(self, sha: str, script: str, key: str, arguments: tuple[Word, ...]) -> Reply:
        """Run a script by its digest, or whole when Valkey has not seen it since its start."""
        try:
            try:
                return await self._lane.ask("EVALSHA", sha, 1, key, *arguments)
            except LaneRefused as refusal:
                if not str(refusal).startswith("NOSCRIPT"):
                    raise
                return await self._lane.ask("EVAL", script, 1, key, *arguments)
        except (LaneAway, LaneRefused) as error:
            raise LimitsAway("The store of the limits does not answer.", fix="Run: isthmus doctor") from error
