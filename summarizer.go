package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"log-ingester/internal/dbfile"
	"log-ingester/internal/summary"
)

const (
	// summarizeEvery is how often the summarizer looks for new entries, and
	// summarizeAllEvery how often it looks for older segments without a summary.
	summarizeEvery    = time.Second
	summarizeAllEvery = 10 * time.Second

	// While requests need the processors, the summarizer works for 1/busyShare of
	// the time.
	busyShare = 64
)

// A summarizer makes summaries in the background. The writer stores them.
type summarizer struct {
	path   string
	jobs   chan<- writerJob
	isBusy func() bool // reports whether requests need the processors
	log    *slog.Logger

	ctx     context.Context // done when the summarizer must stop
	cancel  context.CancelFunc
	running sync.WaitGroup

	// The other fields belong to the goroutine that executes run.

	source  *summary.Source // nil while no file is open
	file    dbfile.File     // the file of source
	failing bool            // the last attempt failed
	nextAll time.Time
}

func newSummarizer(path string, jobs chan<- writerJob, isBusy func() bool, log *slog.Logger) *summarizer {
	s := &summarizer{path: path, jobs: jobs, isBusy: isBusy, log: log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// start starts the goroutine.
func (s *summarizer) start() { s.running.Go(func() { s.run(s.ctx) }) }

// stop stops the goroutine and waits until it has closed its connection. It need not
// have been started.
func (s *summarizer) stop() {
	s.cancel()
	s.running.Wait()
}

// A writerJob is work for the goroutine of the writer.
type writerJob struct {
	do   func(*database) error
	done chan error // has a buffer of one
}

// run makes summaries until ctx is done.
func (s *summarizer) run(ctx context.Context) {
	ticker := time.NewTicker(summarizeEvery)
	defer ticker.Stop()
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.summarizeNew(ctx)
		if err != nil && ctx.Err() == nil && !s.failing && !errors.Is(err, errNoSummaries) {
			s.log.Warn("cannot summarize entries, retrying; searches are slow", "err", err)
		}
		s.failing = err != nil
	}
}

// summarizeNew makes all summaries that are missing, the newest first.
func (s *summarizer) summarizeNew(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.source.Release()
	all := !time.Now().Before(s.nextAll)
	for {
		task, ok, err := s.source.Next(ctx, all)
		if err != nil {
			return err
		}
		if !ok {
			if all {
				s.nextAll = time.Now().Add(summarizeAllEvery)
			}
			return nil
		}
		err = s.summarize(ctx, task)
		if errors.Is(err, errChanged) {
			return nil // the next call makes it
		}
		if err != nil {
			return err
		}
		all = true
	}
}

// summarize makes the summary of one task.
func (s *summarizer) summarize(ctx context.Context, task summary.Task) error {
	err := s.inFile(ctx, func(d *database) error { return d.summaries.begin(d.conn, task) })
	if err != nil {
		return err
	}
	sum, err := s.source.Build(ctx, task, func(took time.Duration) error { return s.pause(ctx, took) })
	if err != nil {
		return err
	}
	return s.inFile(ctx, func(d *database) error { return d.summaries.store(d.conn, task, sum) })
}

// pause is called after each step, which took the given time. It yields the processor
// while requests need it.
func (s *summarizer) pause(ctx context.Context, took time.Duration) error {
	if !s.isBusy() {
		return ctx.Err()
	}
	timer := time.NewTimer(took * (busyShare - 1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// inWriter executes do in the writer's goroutine, while the writer has the file at the
// path open. If ctx is done, it returns while do may still be executed.
func (s *summarizer) inWriter(ctx context.Context, do func(*database) error) error {
	job := writerJob{do: do, done: make(chan error, 1)}
	select {
	case s.jobs <- job:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-job.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inFile is inWriter, but returns an error if the writer and source have different
// files open.
func (s *summarizer) inFile(ctx context.Context, do func(*database) error) error {
	return s.inWriter(ctx, func(d *database) error {
		if !os.SameFile(d.files.database.Info, s.file.Info) {
			return errNoSummaries
		}
		return do(d)
	})
}

// open opens the file at the path, unless it is open. It does so in the writer's
// goroutine: if another file is moved to the path, the writer must be the first to open
// it, because the WAL next to it can belong to the previous file.
func (s *summarizer) open(ctx context.Context) error {
	if s.source != nil {
		if _, err := s.file.Check(); err == nil {
			return nil
		}
		s.close()
	}
	var source *summary.Source // has no connection yet, so it can be abandoned
	var file dbfile.File
	err := s.inWriter(ctx, func(d *database) (err error) {
		source, err = summary.OpenSource(s.path)
		file = d.files.database
		return err
	})
	if err != nil {
		return err
	}
	s.source, s.file, s.nextAll = source, file, time.Time{}
	return nil
}

func (s *summarizer) close() {
	if s.source == nil {
		return
	}
	if err := s.source.Close(); err != nil {
		s.log.Warn("cannot close the database after summarizing", "err", err)
	}
	s.source = nil
}
