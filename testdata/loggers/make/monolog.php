<?php
// Logs with Monolog and writes its output to monolog.body in the directory given as the
// argument. The script fixes the time.
require 'Monolog/autoload.php';

$file = $argv[1] . '/monolog.body';
@unlink($file);
$handler = new Monolog\Handler\StreamHandler($file);
$handler->setFormatter(new Monolog\Formatter\JsonFormatter());
$seconds = 0;
$log = new Monolog\Logger('shop', [$handler], [function ($record) use (&$seconds) {
    $record['datetime'] = (new Monolog\DateTimeImmutable(true))
        ->modify(sprintf('2026-11-22T15:24:%02d.123456+01:00', $seconds++));
    return $record;
}]);
$log->debug('cache miss', ['key' => 'user:42']);
$log->info('commande passée à « Zoé »');
$log->info('payload was {"level_name":"ERROR"}', ['level' => 400]);
$log->notice('listening');
$log->warning('slow request', ['status' => 499]);
$log->error("said \"no\"\nthen C:\\temp\\x");
$log->critical('disk failed');
$log->alert('power lost');
$log->emergency('giving up');
