// Logs with the JSON console of Microsoft.Extensions.Logging to standard output: first
// with its defaults, without a time, then with a time and scopes.
using System;
using System.Collections.Generic;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

static class Fixtures
{
    static void Main()
    {
        Log(options => { });
        Log(options =>
        {
            options.UseUtcTimestamp = true;
            options.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffffffZ";
            options.IncludeScopes = true;
        });
    }

    static void Log(Action<JsonConsoleFormatterOptions> configure)
    {
        using var factory = LoggerFactory.Create(builder =>
            builder.SetMinimumLevel(LogLevel.Trace).AddJsonConsole(configure));
        var logger = factory.CreateLogger("Shop.Checkout");
        logger.LogTrace("cache miss for {Key}", "user:42");
        logger.LogDebug("{Hits} hits", 7);
        using (logger.BeginScope(new Dictionary<string, object> { ["Level"] = "Error", ["User"] = "Zoé" }))
        {
            logger.LogInformation("commande passée à « {User} » — 注文 ✓ 🚀", "Zoé");
            logger.LogInformation("payload was {Payload}", "{\"LogLevel\":\"Error\"}");
        }
        logger.LogWarning(new EventId(7, "Slow"), "slow request: {Milliseconds} ms", 1500.5);
        logger.LogError("said \"no\"\nthen C:\\temp\\x and </script> & 'rest'\u2028end");
        try
        {
            throw new InvalidOperationException("card declined");
        }
        catch (InvalidOperationException e)
        {
            logger.LogError(e, "payment failed");
        }
        logger.LogCritical("giving up");
    }
}
