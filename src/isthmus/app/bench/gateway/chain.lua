-- The chain as plugins of a gateway do it: key, role, a limit asked of Redis, a quota counted in Redis, the answer.
local redis = require "nginx.redis"
local cjson = require "cjson.safe"
local chain = {}

local GCRA = [[
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local emission, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local ahead = tat + emission - burst * emission - now
if ahead > 0 then return {0, 0, math.ceil(ahead / 1000000)} end
redis.call('SET', KEYS[1], string.format('%.0f', tat + emission), 'PX', math.ceil((tat + emission - now) / 1000) + 1000)
return {1, math.floor((burst * emission - (tat + emission - now)) / emission), 0}
]]
local ONE = GCRA:gsub("return {1,", "redis.call('INCR', KEYS[2])\nreturn {1,")

local function refuse(status, code, detail)
  ngx.status = status
  ngx.header["content-type"] = "application/problem+json"
  ngx.say(cjson.encode({title = code, status = status, code = code, detail = detail, request_id = ngx.var.request_id}))
  return ngx.exit(status)
end

local function script(store, name, text, count, ...)
  local sha = chain[name]
  if not sha then
    sha = assert(store:script("load", text))
    chain[name] = sha
  end
  local said, err = store:evalsha(sha, count, ...)
  if not said then error(err) end
  return said
end

function chain.load(path)
  for line in io.lines(path) do
    local key, id, role, emission, burst = line:match("^(%S+) (%S+) (%S+) (%S+) (%S+)$")
    chain[key] = {id = id, role = role, emission = emission, burst = burst}
  end
end

function chain.answer(socket, permission, body, once)
  local scheme, credential = (ngx.var.http_authorization or ""):match("^(%S+) (%S+)$")
  local found = scheme == "Bearer" and chain[credential]
  if type(found) ~= "table" then return refuse(401, "invalid-key", "The API key is not known here.") end
  ngx.var.caller = found.id
  if not chain.roles[found.role][permission] then return refuse(403, "grant-missing", "This needs " .. permission) end
  local store = redis:new()
  assert(store:connect("unix:" .. socket))
  local quota = "quota:" .. found.id .. ":" .. ngx.today()
  local said
  if once then
    said = script(store, "one", ONE, 2, "limit:" .. found.id, quota, found.emission, found.burst)
  else
    said = script(store, "gcra", GCRA, 1, "limit:" .. found.id, found.emission, found.burst)
  end
  if said[1] == 1 and not once then
    local used = assert(store:incr(quota))
    if used > 1000000000 then said = {0, 0, 3600} end
  end
  store:set_keepalive(60000, 64)
  if said[1] == 0 then
    ngx.header["retry-after"] = said[3]
    return refuse(429, "limit-reached", "Wait, as Retry-After says.")
  end
  ngx.header["ratelimit"] = '"caller";r=' .. said[2]
  ngx.header["content-type"] = "application/json"
  ngx.header["x-request-id"] = ngx.var.request_id
  ngx.header["cache-control"] = "no-store"
  local text = cjson.encode(body)
  ngx.header["content-length"] = #text
  ngx.print(text)
end

return chain
