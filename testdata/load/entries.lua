-- Sends log entries with wrk:
--   wrk -t1 -c50 -d5 --latency -s testdata/load/entries.lua http://127.0.0.1:3002
-- Environment variables: N, entries per body (1); ERRORS, percentage of errors
-- (33); TARGET, path (/ingest); KEY, API key; COMPRESS, 1 for gzip bodies;
-- ONCE, 1 for a different Idempotency-Key in each request; PAUSE, longest time in
-- milliseconds that a connection waits before a request (0).
local per_body = tonumber(os.getenv("N") or 1)
local errors = tonumber(os.getenv("ERRORS") or 33)
local target = os.getenv("TARGET") or "/ingest"

math.randomseed(1)

local function entry()
  local level = math.random(100) <= errors and "error" or (math.random(2) == 1 and "info" or "debug")
  return string.format('{"level": "%s", "message": "connection to upstream lost, retrying", "user_id": %d, "request": "%s"}',
    level, math.random(10000), string.rep(string.char(96 + math.random(26)), 50))
end

local bodies = {}
for i = 1, per_body >= 100 and 8 or 256 do
  local entries = {}
  for j = 1, per_body do entries[j] = entry() end
  bodies[i] = "[" .. table.concat(entries, ",") .. "]"
end

local function gzip(body)
  local name = os.tmpname()
  local file = io.open(name, "w")
  file:write(body)
  file:close()
  local output = io.popen("gzip -c " .. name)
  local compressed = output:read("*a")
  output:close()
  os.remove(name)
  return compressed
end

wrk.headers["Content-Type"] = "application/json"
if os.getenv("COMPRESS") == "1" then
  for i, body in ipairs(bodies) do bodies[i] = gzip(body) end
  wrk.headers["Content-Encoding"] = "gzip"
end
if os.getenv("KEY") then wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY") end

local once = os.getenv("ONCE") == "1"
if once then wrk.headers["Idempotency-Key"] = "*" end

local requests, rests, next_request = {}, {}, 0
function init()
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", target, nil, body)
    if once then requests[i], rests[i] = requests[i]:match("^(.*Idempotency%-Key: )%*(.*)$") end
  end
end

-- The first part of a key is different in each run, the second in each request.
local run, sent = string.format("%s-%s-", os.time(), tostring({}):match("0x(%x+)")), 0
function request()
  next_request = next_request % #requests + 1
  if not once then return requests[next_request] end
  sent = sent + 1
  return requests[next_request] .. run .. sent .. rests[next_request]
end

-- PAUSE, the most milliseconds that a connection waits before each request, at
-- random: for latencies below the peak.
local pause = tonumber(os.getenv("PAUSE") or 0)
if pause > 0 then
  function delay() return math.random(0, pause) end
end
