//go:build linux && amd64

// Powerloss tests what remains of the service's database after a power loss. It
// records what the service does to its files, and what its clients receive, makes
// images that a disk could contain after a power loss at any moment, starts the
// service on each image, and audits the result.
//
//	go run -C testdata/powerloss .                         6,000 images, a minute or two
//	go run -C testdata/powerloss . -images 100000          more images
//	go run -C testdata/powerloss . -synchronous normal     another -synchronous of the service
//
// It needs Linux on amd64 and permission to use ptrace. With -synchronous off, it
// fails unless it finds losses, because that shows that it can find them.
package main

import (
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// options are the command line.
type options struct {
	images      int
	seed        uint64
	synchronous string
	workloads   string
	binary      string
	replay      string
}

func main() {
	var o options
	flag.IntVar(&o.images, "images", 6000, "`number` of images of all workloads together")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "`seed` of the requests and the images")
	flag.StringVar(&o.synchronous, "synchronous", "full", "`mode` of the service: full, normal or off")
	flag.StringVar(&o.workloads, "workloads", "", "comma-separated `names`; empty for all")
	flag.StringVar(&o.binary, "binary", "", "the service's program `file`; empty to build it")
	flag.StringVar(&o.replay, "replay", "", "use the recordings in this `directory`")
	flag.Parse()
	if err := checkAll(o); err != nil {
		fmt.Fprintln(os.Stderr, "powerloss:", err)
		os.Exit(1)
	}
}

// checkAll checks the selected workloads.
func checkAll(o options) error {
	tempDir, err := os.MkdirTemp(memoryDir(), "powerloss-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tempDir) // an error leaves only temporary files
	if o.binary == "" {
		if o.binary, err = build(tempDir); err != nil {
			return err
		}
	}
	selected, err := selectWorkloads(o.workloads)
	if err != nil {
		return err
	}
	fmt.Printf("-synchronous %s -seed %d -images %d\n", o.synchronous, o.seed, o.images)
	checked, failed := 0, 0
	for i, w := range selected {
		n := (o.images - checked) / (len(selected) - i)
		r, err := checkWorkload(o, w, n, tempDir)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		checked += r.images
		failed += len(r.failures)
	}
	fmt.Printf("%d different images, %d with problems\n", checked, failed)
	return verdict(o, failed)
}

// verdict returns an error if there are problems, or, with -synchronous off, if
// there are none.
func verdict(o options, failed int) error {
	switch {
	case o.synchronous == "off" && failed == 0:
		return errors.New("no losses found with -synchronous off: the test cannot find losses")
	case o.synchronous != "off" && failed > 0:
		return fmt.Errorf("%d images with problems", failed)
	}
	return nil
}

// memoryDir returns a directory in memory, where syncs take no time, or "" for
// the default directory.
func memoryDir() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir
	}
	return ""
}

// build builds the service from the root module, as a release is built.
func build(dir string) (string, error) {
	binary := filepath.Join(dir, "log-ingester")
	cmd := exec.Command("go", "build", "-C", "../..", "-trimpath", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the service: %w: %s", err, output)
	}
	return binary, nil
}

func selectWorkloads(names string) ([]*workload, error) {
	var selected []*workload
	known := map[string]bool{}
	for i := range workloads {
		w := &workloads[i]
		known[w.name] = true
		if names == "" || slices.Contains(strings.Split(names, ","), w.name) {
			selected = append(selected, w)
		}
	}
	for name := range strings.SplitSeq(names, ",") {
		if names != "" && !known[name] {
			return nil, fmt.Errorf("unknown workload %q", name)
		}
	}
	return selected, nil
}

// checkWorkload records a workload, checks n images and prints the result. If
// there are problems, it saves the recording.
func checkWorkload(o options, w *workload, n int, tempDir string) (*result, error) {
	rec, err := recordOrLoad(o, w, tempDir)
	if err != nil {
		return nil, err
	}
	c := &checker{
		workload: w, recording: rec, binary: o.binary, synchronous: o.synchronous, seed: o.seed, tempDir: tempDir,
	}
	r, err := c.check(n)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%-22s %5d events %4d requests %6d images %5d with problems %4d requests with status 200 missing\n",
		w.name, len(rec.Events), len(rec.Requests), r.images, len(r.failures), r.missing)
	if len(r.failures) > 0 && o.synchronous != "off" {
		err = report(o, w, rec, n, r.failures)
	}
	return r, err
}

func recordOrLoad(o options, w *workload, tempDir string) (*recording, error) {
	if o.replay != "" {
		return loadRecording(recordingFile(o.replay, w))
	}
	return record(w.run, o.binary, tempDir, o.seed, "-synchronous", o.synchronous)
}

// report prints the first failures, and how to reproduce them. The seed does not
// determine the timing of the service, so the recording is saved, with the first
// image.
func report(o options, w *workload, rec *recording, n int, failures []failure) error {
	for _, f := range failures[:min(len(failures), 5)] {
		fmt.Printf("%v\n", &f)
	}
	if o.replay != "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "powerloss-"+w.name+"-")
	if err != nil {
		return err
	}
	image := filepath.Join(dir, "image")
	if err := os.Mkdir(image, 0o700); err != nil {
		return err
	}
	if err := failures[0].write(image); err != nil {
		return err
	}
	if err := saveRecording(recordingFile(dir, w), rec); err != nil {
		return err
	}
	fmt.Printf("The first of these images is in %s. To check the images again:\n"+
		"go run -C testdata/powerloss . -synchronous %s -seed %d -images %d -workloads %s -replay %s\n",
		image, o.synchronous, o.seed, n, w.name, dir)
	return nil
}

func recordingFile(dir string, w *workload) string { return filepath.Join(dir, w.name+".recording") }

func saveRecording(path string, rec *recording) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(gob.NewEncoder(f).Encode(rec), f.Close())
}

func loadRecording(path string) (*recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	rec := new(recording)
	if err := gob.NewDecoder(f).Decode(rec); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return rec, nil
}
