#!/usr/bin/env php
<?php
/* Run the recipe on the database of PGHOST, PGDATABASE and so on. */
declare(strict_types=1);

// Debian's packages of Laravel 8 are older than its PHP, and say so at every class.
error_reporting(E_ALL & ~E_DEPRECATED);

require 'Illuminate/Database/autoload.php';
require __DIR__ . '/EventstoreConnection.php';

use App\Eventstore\EventstoreConnection;
use App\Eventstore\VersionConflict;
use Illuminate\Database\Capsule\Manager;
use Illuminate\Database\Connection;
use Illuminate\Database\QueryException;

function ok(bool $condition, string $what): void
{
    echo $condition ? '' : 'not ', "ok - $what\n";
    $condition || exit(1);
}

/* The exception that $work throws, which must be of this class. */
function refused(string $class, callable $work): Throwable
{
    try {
        $work();
    } catch (Throwable $error) {
        if (get_class($error) === $class) {
            return $error;
        }
        throw $error;
    }
    ok(false, "throws $class");
}

function connect(): Connection
{
    $manager = new Manager();
    $manager->addConnection([
        'driver' => 'pgsql', 'host' => getenv('PGHOST'), 'port' => getenv('PGPORT'), 'database' => getenv('PGDATABASE'),
        'username' => getenv('PGUSER'), 'password' => getenv('PGPASSWORD') ?: null, 'charset' => 'utf8',
    ]);
    return $manager->getConnection();
}

/* Decided on what was read: the total is wrong, not only late, if that was old. */
function deposit(EventstoreConnection $db, string $key): void
{
    $db->decideAgain(function () use ($db, $key) {
        [$events, $version] = $db->readAggregate($key);
        $db->append($key, [['type' => 'deposited', 'data' => ['total' => count($events) + 1]]], $version);
    }, 50);
}

if ($argc > 1) {
    EventstoreConnection::register();
    $db = connect();
    for ($i = 0; $i < 5; $i++) {
        deposit($db, $argv[1]);
    }
    exit;
}

// What happens without the recipe: the events decide how often the transaction runs.
$nasty = json_encode([['type' => 'noted', 'data' => 'deadlock detected']]);
$plain = connect();
$plain->statement("SELECT es_append('account-1', '[{\"type\": \"opened\"}, {\"type\": \"used\"}]', 0)");
$calls = (object) ['n' => 0];        // an object, because fn () copies
refused(QueryException::class, fn () => $plain->transaction(function () use ($plain, $nasty, $calls) {
    $calls->n++;
    $plain->select('SELECT es_append(?, ?, ?)', ['account-1', $nasty, 1]);
}, 3));
ok($calls->n === 3, 'plain Laravel replays a conflict for what it was to store');

EventstoreConnection::register();
$db = connect();
$calls->n = 0;
$db->statement('CREATE TABLE laravel_note (note text)');
foreach (['account-1', 'deadlock detected'] as $key) {
    if ($db->readAggregate($key)[1] === 0) {
        $db->append($key, [['type' => 'opened']], 0);
    }
    $version = $db->readAggregate($key)[1];
    $calls->n = 0;
    $error = refused(VersionConflict::class, fn () => $db->transaction(function () use ($db, $key, $nasty, $version, $calls) {
        $calls->n++;
        $db->insert('INSERT INTO laravel_note VALUES (?)', ['stale']);
        $db->append($key, json_decode($nasty, true), $version + 4);
    }, 3));
    ok($calls->n === 1, "with the recipe it runs once, key \"$key\"");
    ok(array_diff_assoc(['key' => $key, 'actual' => $version, 'expected' => $version + 4], $error->conflicts[0]) === [],
        'and tells the facts');
}
ok($db->table('laravel_note')->count() === 0, "the transaction's own rows are gone with it");

$calls->n = 0;
$error = refused(QueryException::class, fn () => $db->transaction(function () use ($db, $calls) {
    $calls->n++;
    $db->unprepared("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$");
}, 3));
ok($calls->n === 3, "Laravel's replay of 40001 is as it was");

$calls->n = 0;
refused(VersionConflict::class, fn () => $db->decideAgain(function () use ($db, $calls) {
    $calls->n++;
    $db->append('account-1', [['type' => 'used']], 77);
}, 3));
ok($calls->n === 3, 'decideAgain() lets a conflict through that stays');
$calls->n = 0;
refused(VersionConflict::class, fn () => $db->transaction(fn () => $db->decideAgain(function () use ($db, $calls) {
    $calls->n++;
    $db->append('account-1', [['type' => 'used']], 77);
})));
ok($calls->n === 1, 'at once inside of another transaction');
$calls->n = 0;
refused(QueryException::class, fn () => $db->decideAgain(function () use ($db, $calls) {
    $calls->n++;
    $db->select('SELECT 1/0');
}));
ok($calls->n === 1, 'and any other error at once');

$workers = array_map(fn () => proc_open([PHP_BINARY, __FILE__, 'account-2'], [], $pipes), range(1, 4));
foreach ($workers as $worker) {
    ok(proc_close($worker) === 0, 'worker');
}
[$events, $version] = $db->readAggregate('account-2');
$totals = array_map(fn ($event) => json_decode($event->data)->total, $events);
ok($version === 20 && $totals === range(1, 20), 'of racing deposits none is lost or decided on old facts');
