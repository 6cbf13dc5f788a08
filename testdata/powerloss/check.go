//go:build linux && amd64

package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A checker starts the service on images of a recording, and audits the result.
type checker struct {
	workload    *workload
	recording   *recording
	binary      string
	synchronous string
	seed        uint64
	tempDir     string
}

// A numberedImage is an image, its number, and the number of events before its
// power loss.
type numberedImage struct {
	*image
	number, events int
}

// A failure is an image that has problems.
type failure struct {
	numberedImage
	problems []string
}

func (f *failure) String() string {
	return fmt.Sprintf("image %d, power loss after %d events; %s\n\t%s",
		f.number, f.events, f.what, strings.Join(f.problems, "\n\t"))
}

// A result is the result of checking the images of a recording.
type result struct {
	images   int
	failures []failure // by number
	missing  int       // the largest number of requests with status 200 that are not stored
}

// check checks up to n different images.
func (c *checker) check(n int) (*result, error) {
	images := make(chan numberedImage)
	go func() {
		defer close(images)
		c.makeImages(n, images)
	}()
	var (
		mu    sync.Mutex
		r     result
		first error
		group sync.WaitGroup
	)
	for range 2 * runtime.NumCPU() { // the service also waits for system calls
		group.Go(func() {
			for img := range images {
				problems, missing, err := c.checkImage(img)
				mu.Lock()
				r.images++
				r.missing = max(r.missing, missing)
				if len(problems) > 0 {
					r.failures = append(r.failures, failure{img, problems})
				}
				if first == nil && err != nil {
					first = fmt.Errorf("check image %d: %w", img.number, err)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.SortFunc(r.failures, func(a, b failure) int { return a.number - b.number })
	return &r, first
}

// attempts is how many images are made before one of n is given up, because
// they all equal earlier ones.
const attempts = 10

// makeImages sends up to n images. Two images differ in their files, or in what
// the clients knew. The power losses are spread evenly over the recording, except
// those of further attempts.
func (c *checker) makeImages(n int, images chan<- numberedImage) {
	r := rand.New(rand.NewPCG(c.seed, 0))
	hashSeed := maphash.MakeSeed()
	made := map[uint64]bool{}
	lengths := len(c.recording.Events) + 1
	for i := range n {
		events := (i*lengths + r.IntN(lengths)) / n
		for range attempts {
			img := diskAt(c.recording.Events[:events]).crash(r)
			hash := img.hash(hashSeed) + uint64(c.known(events))
			if !made[hash] {
				made[hash] = true
				images <- numberedImage{img, i, events}
				break
			}
			events = r.IntN(lengths)
		}
	}
}

// known returns the number of the event after which the clients learned nothing
// until the given number of events.
func (c *checker) known(events int) int {
	for events > 0 {
		switch c.recording.Events[events-1].Kind {
		case evSend, evResponse, evExit:
			return events
		}
		events--
	}
	return 0
}

// hash returns a hash of the names and contents.
func (img *image) hash(seed maphash.Seed) uint64 {
	var sum uint64
	for name, content := range img.files {
		if isIndex(name) {
			continue // SQLite does not read it after a power loss
		}
		sum += maphash.String(seed, name) * maphash.Bytes(seed, content)
	}
	return sum
}

// checkImage returns the problems of an image, and the number of requests with
// status 200 that are not stored. It returns an error if it cannot check the image.
func (c *checker) checkImage(img numberedImage) (problems []string, missing int, err error) {
	dir, err := os.MkdirTemp(c.tempDir, "image-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir) // tempDir is removed too
	if err := img.write(dir); err != nil {
		return nil, 0, err
	}
	if err := c.withService(dir, addRow); err != nil {
		return []string{fmt.Sprintf("the service does not work: %v", err)}, 0, nil
	}
	s := newState(c.workload.deletes, c.synchronous, c.recording, img.events)
	if err := s.load(dir); err != nil {
		return []string{err.Error()}, 0, nil
	}
	for _, audit := range audits {
		problems = append(problems, audit(s)...)
	}
	missing = s.missing()
	if len(problems) == 0 && c.workload.after != nil {
		problems, err = c.checkAfter(dir, img.events, s)
	}
	return problems, missing, err
}

// write writes the files of the image.
func (img *image) write(dir string) error {
	for name, content := range img.files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// withService starts the service, calls use, and kills the service.
func (c *checker) withService(dir string, use func(ctx context.Context, address string) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	args := serviceArgs(c.binary, dir, "-synchronous", c.synchronous)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = write
	log := newLog(read)
	err = cmd.Start()
	write.Close() // the service has its own descriptor
	if err != nil {
		return err
	}
	defer cmd.Wait() // the service is killed
	defer cmd.Process.Kill()
	address, err := log.address()
	if err != nil {
		return err
	}
	if err := use(ctx, address); err != nil {
		return fmt.Errorf("%w; log of the service: %s", err, log.text())
	}
	return nil
}

// checkAfter starts the service again on an image that has no problems, makes the
// additional check of the workload, and audits the requests again.
func (c *checker) checkAfter(dir string, events int, s *state) (problems []string, err error) {
	err = c.withService(dir, func(ctx context.Context, address string) (err error) {
		problems, err = c.workload.after(ctx, address, s)
		return err
	})
	if err != nil {
		return []string{fmt.Sprintf("the service does not work: %v", err)}, nil
	}
	next := newState(c.workload.deletes, c.synchronous, c.recording, events)
	for _, o := range next.requests {
		if o.Key != "" {
			o.sendAgain()
		}
	}
	if err := next.load(dir); err != nil {
		return nil, err
	}
	for _, audit := range []audit{auditIntegrity, auditContent, auditDurability, auditKeys, auditSummaries} {
		problems = append(problems, audit(next)...)
	}
	for _, o := range next.requests {
		if o.Key != "" && len(o.copies) != 1 {
			problems = append(problems, fmt.Sprintf("request %d was repeated and is stored %d times", o.ID, len(o.copies)))
		}
	}
	return problems, nil
}
