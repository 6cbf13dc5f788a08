// Logs each line of standard input as an error, as JSON on standard output. Docker or
// Kubernetes stores the output, and a shipper sends it. Add the package
// Microsoft.Extensions.Logging.Console.
using Microsoft.Extensions.Logging;

using var factory = LoggerFactory.Create(builder => builder.AddJsonConsole(options =>
{
    options.UseUtcTimestamp = true;
    options.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffffffZ"; // by default there is no time
}));
var logger = factory.CreateLogger("Example");

logger.LogInformation("started");
for (string? line; (line = Console.ReadLine()) != null;)
{
    logger.LogError("{Line}", line);
}
logger.LogWarning("end of input");
