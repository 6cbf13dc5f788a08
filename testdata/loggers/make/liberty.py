"""Logs in a web application on Open Liberty, and writes what its JSON log contains of it
to liberty.body. The times, the ids of threads, the host and the directory are replaced.

usage: liberty.py LIBERTY DIRECTORY
"""

import itertools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SERVER = """<server><featureManager><feature>servlet-6.0</feature></featureManager>
<logging traceSpecification="shop.*=all"/><httpEndpoint id="defaultHttpEndpoint" httpPort="-1" httpsPort="-1"/>
<webApplication location="shop.war"/></server>"""

LISTENER = r"""
package shop;

import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.annotation.WebListener;
import java.util.logging.Level;
import java.util.logging.Logger;

@WebListener
public class Checkout implements ServletContextListener {
  public void contextInitialized(ServletContextEvent event) {
    Logger log = Logger.getLogger("shop.Checkout");
    log.fine("cache miss");
    log.info("commande pass\u00e9e \u00e0 \u00ab Zo\u00e9 \u00bb");
    log.info("payload was {\"loglevel\":\"SEVERE\",\"message\":\"inner\"}");
    log.warning("slow request");
    log.severe("said \"no\"\nthen C:\\temp\\x and </script>");
    Exception e = new IllegalStateException("card declined");
    e.setStackTrace(new StackTraceElement[] {new StackTraceElement("shop.Charge", "charge", "Charge.java", 12)});
    log.log(Level.SEVERE, "payment failed", e);
    System.out.println("printed");
    System.err.println("the end");
  }
}
"""

REPLACED = {
    "host": "web-1", "ibm_serverName": "defaultServer", "ibm_userDir": "/opt/wlp/usr/", "ibm_threadId": "0000002a",
    "ext_thread": "Default Executor-thread-1",
}


def start(liberty, tmp):
    """Starts a server with the application, and returns the lines of its log."""
    server = tmp / "servers/defaultServer"
    classes = server / "apps/shop.war/WEB-INF/classes"
    classes.mkdir(parents=True)
    (server / "server.xml").write_text(SERVER)
    (tmp / "Checkout.java").write_text(LISTENER)
    api = next(liberty.glob("dev/api/spec/io.openliberty.jakarta.servlet.6.0_*.jar"))
    subprocess.run(["javac", "-cp", api, "-d", classes, tmp / "Checkout.java"], check=True)
    env = {**os.environ, "WLP_USER_DIR": str(tmp), "WLP_LOGGING_MESSAGE_FORMAT": "JSON",
           "WLP_LOGGING_MESSAGE_SOURCE": "message,trace", "TZ": "UTC"}
    process = subprocess.Popen(["sh", liberty / "bin/server", "run"], env=env, stdout=subprocess.DEVNULL)
    log = server / "logs/messages.log"
    try:
        for _ in range(1200):
            lines = log.read_text("utf-8").splitlines() if log.exists() else []
            if any('"the end"' in line for line in lines):
                return lines
            time.sleep(0.1)
        sys.exit("the application did not start")
    finally:
        subprocess.run(["sh", liberty / "bin/server", "stop"], env=env, check=True, stdout=subprocess.DEVNULL)
        process.wait(60)


def main(liberty, out):
    with tempfile.TemporaryDirectory() as tmp:
        lines = start(pathlib.Path(liberty), pathlib.Path(tmp))
    number = itertools.count()
    body = ""
    for line in lines:
        if not re.search(r'"module":"(shop\.Checkout|SystemOut|SystemErr)"', line):
            continue
        i = next(number)
        for key, value in REPLACED.items():
            line = re.sub(rf'"{key}":"[^"]*"', f'"{key}":"{value}"', line)
        line = re.sub(r'"ibm_datetime":"[^"]*"', f'"ibm_datetime":"2026-11-22T15:24:{i:02}.123+0000"', line)
        line = re.sub(r'"ibm_sequence":"[^"]*"', f'"ibm_sequence":"1764072000000_{i:013}"', line)
        body += line + "\n"
    pathlib.Path(out, "liberty.body").write_text(body, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
