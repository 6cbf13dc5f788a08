// Logs each line of standard input as an error, as JSON on standard output. Docker or
// Kubernetes stores the output, and a shipper sends it. To run it in a new project:
//
//     dotnet new console
//     dotnet add package Microsoft.Extensions.Logging.Console
//     dotnet run
using System;
using Microsoft.Extensions.Logging;

static class Program
{
    static void Main()
    {
        using var factory = LoggerFactory.Create(builder => builder.AddJsonConsole(options =>
        {
            options.UseUtcTimestamp = true;
            options.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffffffZ"; // by default there is no time
        }));
        var logger = factory.CreateLogger("Example");

        logger.LogInformation("started");
        while (Console.ReadLine() is { } line)
        {
            logger.LogError("{Line}", line);
        }
        logger.LogWarning("end of input");
    }
}
