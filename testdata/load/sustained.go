package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

const sustainedTitle = "bodies of 100, all entries kept, until -rows entries are stored"

const sustainedHeader = "" +
	"| entries | seconds | first 10 s | last 10 s | ratio | file | written | disk before, after | peak memory |\n" +
	"|---|---|---|---|---|---|---|---|---|"

// window is the length of the first and the last part of the row sustained.
const window = 10 * time.Second

// sustained sends only entries that the service keeps, until cfg.rows of them are stored.
// It prints the rates of the first and the last ten seconds, and the write rate of the
// disk before and after the load.
func (cfg *config) sustained() error {
	bodies := cfg.path("bodies-sustained")
	if _, err := writeBodies(bodies, load{entries: 100, errors: 100}); err != nil {
		return err
	}
	before, err := cfg.diskRate()
	if err != nil {
		return err
	}
	p, err := cfg.start(service)
	if err != nil {
		return err
	}
	defer p.stop()
	samples, err := cfg.store(p, bodies)
	if err != nil {
		return err
	}
	written, err := p.writtenBytes()
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(p.dir, "logs.db"))
	if err != nil {
		return err
	}
	peak, err := p.peakMemory()
	if err != nil {
		return err
	}
	after, err := cfg.diskRate()
	if err != nil {
		return err
	}
	seconds := len(samples) - 1
	n := min(int(window.Seconds()), seconds)
	first, last := (samples[n]-samples[0])/int64(n), (samples[seconds]-samples[seconds-n])/int64(n)
	fmt.Println(sustainedHeader)
	fmt.Printf("| %s | %d | %s/s | %s/s | %.2f | %.1f GB | %.0f MB/s | %.0f, %.0f MB/s | %.0f MB |\n",
		thousands(float64(samples[seconds])), seconds, thousands(float64(first)), thousands(float64(last)),
		float64(last)/float64(first), float64(info.Size())/1e9, float64(written)/float64(seconds)/1e6,
		before/1e6, after/1e6, float64(peak)/1e6)
	return nil
}

// store sends entries until cfg.rows are stored. It returns how many were stored after
// each second.
func (cfg *config) store(p *process, bodies string) (samples []int64, err error) {
	wrk := exec.CommandContext(cfg.ctx, "wrk", "-t1", "-c8", "-d86400", "-s", cfg.path("requests.lua"), p.url)
	wrk.Env = append(os.Environ(), "BODIES="+bodies, "PAUSE=0")
	if err := wrk.Start(); err != nil {
		return nil, err
	}
	defer wrk.Wait() // killed below
	defer wrk.Process.Kill()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		stored, err := p.stored()
		if err != nil {
			return nil, err
		}
		samples = append(samples, stored)
		if len(samples) > 1 && stored >= cfg.rows {
			return samples, nil
		}
		<-second.C
	}
}

var storedTotal = regexp.MustCompile(`(?m)^log_ingester_entries_stored_total (\S+)$`)

// stored returns how many entries the service has stored.
func (p *process) stored() (int64, error) {
	u, err := url.Parse(p.url)
	if err != nil {
		return 0, err
	}
	resp, err := http.Get(u.JoinPath("../metrics").String())
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	match := storedTotal.FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no entries_stored_total in /metrics: %s", resp.Status)
	}
	n, err := strconv.ParseFloat(string(match[1]), 64)
	return int64(n), err
}

var writeBytes = regexp.MustCompile(`(?m)^write_bytes: (\d+)$`)

// writtenBytes returns how many bytes the process has caused to be written to the disk.
func (p *process) writtenBytes() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	match := writeBytes.FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no write_bytes in /proc/%d/io", p.cmd.Process.Pid)
	}
	return strconv.ParseInt(string(match[1]), 10, 64)
}

// diskRate returns how many bytes per second one program can write to the disk if it
// syncs after every 2 MiB, as much as the service writes between two checkpoints.
func (cfg *config) diskRate() (float64, error) {
	file, err := os.Create(cfg.path("disk"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 2<<20)
	for i := range block {
		block[i] = byte(i * 2654435761 >> 7)
	}
	start, written := time.Now(), 0
	for time.Since(start) < 3*time.Second {
		n, err := file.Write(block)
		if err != nil {
			return 0, err
		}
		written += n
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			return 0, fmt.Errorf("sync %s: %w", file.Name(), err)
		}
	}
	return float64(written) / time.Since(start).Seconds(), nil
}
