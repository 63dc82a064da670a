-- Cycles through prepared requests: each line of the file CALLERS is a path and an Authorization header.
local requests, at = {}, 0

function init(args)
  for line in io.lines(os.getenv("CALLERS")) do
    local path, credential = line:match("^([^\t]*)\t(.*)$")
    requests[#requests + 1] = wrk.format("GET", path, {["Authorization"] = credential, ["Host"] = wrk.headers["Host"]})
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "refused": %d, "broken": %d, "p50_us": %.0f, "p95_us": %.0f, "p99_us": %.0f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
