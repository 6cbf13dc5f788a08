/* Measures how many rows per second a loop over SQLite's C API inserts: one
 * prepared INSERT, transactions of a thousand rows of about 170 bytes, WAL, pages
 * of 8 KiB.
 *
 *	cc -O2 -o cloop cloop.c -lsqlite3 && ./cloop FILE normal|full SECONDS
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static sqlite3 *db;

static void must(int rc, int want) {
	if (rc != want) {
		fprintf(stderr, "%s\n", sqlite3_errmsg(db));
		exit(1);
	}
}

static void run(const char *sql) { must(sqlite3_exec(db, sql, 0, 0, 0), SQLITE_OK); }

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
	if (argc != 4) {
		fprintf(stderr, "usage: cloop FILE normal|full SECONDS\n");
		return 2;
	}
	must(sqlite3_open(argv[1], &db), SQLITE_OK);
	char sync[64];
	snprintf(sync, sizeof sync, "PRAGMA synchronous=%s", argv[2]);
	run("PRAGMA page_size=8192");
	run("PRAGMA journal_mode=WAL");
	run(sync);
	run("CREATE TABLE logs(id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL,"
	    " message TEXT NOT NULL, timestamp TEXT NOT NULL, details TEXT)");
	sqlite3_stmt *insert;
	must(sqlite3_prepare_v2(db, "INSERT INTO logs(level,message,timestamp,details) VALUES(?,?,?,?)", -1, &insert, 0), SQLITE_OK);

	const char *message[] = {"connection to upstream lost", "payment was declined by the bank", "retrying after timeout"};
	double began = now(), end = began + atof(argv[3]), at;
	long rows = 0;
	do {
		run("BEGIN IMMEDIATE");
		for (int i = 0; i < 1000; i++, rows++) {
			char details[128];
			int n = snprintf(details, sizeof details,
			    "{\"service\":\"checkout\",\"pid\":%ld,\"request_id\":\"%016lx\",\"status\":503,\"duration_ms\":%ld.5}", rows % 65536, rows * 2654435761u, rows % 1000);
			const char *m = message[i % 3];
			sqlite3_bind_text(insert, 1, "error", 5, SQLITE_STATIC);
			sqlite3_bind_text(insert, 2, m, strlen(m), SQLITE_STATIC);
			sqlite3_bind_text(insert, 3, "2026-11-22T15:24:00.000000000Z", 30, SQLITE_STATIC);
			sqlite3_bind_text(insert, 4, details, n, SQLITE_TRANSIENT);
			must(sqlite3_step(insert), SQLITE_DONE);
			must(sqlite3_reset(insert), SQLITE_OK);
		}
		run("COMMIT");
		at = now();
	} while (at < end);
	printf("SQLite %s, synchronous=%s: %.0f rows/s\n", sqlite3_libversion(), argv[2], rows / (at - began));
	return 0;
}
