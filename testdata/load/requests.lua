-- Sends the files $BODIES/0, $BODIES/1, ... with wrk, which calls these functions.
-- PAUSE is the longest time in milliseconds that a connection waits before a request,
-- at random.
local requests, sent = {}, 0

function init()
  repeat
    local file = io.open(os.getenv("BODIES") .. "/" .. #requests, "rb")
    if file then
      requests[#requests + 1] = wrk.format("POST", nil, nil, file:read("*a"))
      file:close()
    end
  until not file
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

local pause = tonumber(os.getenv("PAUSE"))
if pause > 0 then
  function delay() return math.random(0, pause) end
end
