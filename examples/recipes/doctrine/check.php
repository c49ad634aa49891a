#!/usr/bin/env php
<?php
/* Run the recipe on the database of PGHOST, PGDATABASE and so on. */
declare(strict_types=1);

// Debian's packages are older than its PHP.
error_reporting(E_ALL & ~E_DEPRECATED);

require 'Doctrine/DBAL/autoload.php';
require 'Doctrine/ORM/autoload.php';
require __DIR__ . '/Eventstore.php';

use App\Eventstore\EventStore;
use App\Eventstore\EventstoreMiddleware;
use App\Eventstore\VersionConflict;
use Doctrine\DBAL\Configuration;
use Doctrine\DBAL\DriverManager;
use Doctrine\DBAL\Exception\DeadlockException;
use Doctrine\DBAL\Exception\DriverException;
use Doctrine\DBAL\Exception\RetryableException;
use Doctrine\ORM\OptimisticLockException;

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

$configuration = new Configuration();
$configuration->setMiddlewares([new EventstoreMiddleware()]);
$db = DriverManager::getConnection([
    'driver' => 'pdo_pgsql', 'host' => getenv('PGHOST'), 'port' => getenv('PGPORT'), 'dbname' => getenv('PGDATABASE'),
    'user' => getenv('PGUSER'), 'password' => getenv('PGPASSWORD') ?: '',
], $configuration);
$store = new EventStore($db);

if ($argc > 1) {
    // Decided on what was read: the total is wrong, not only late, if that was old.
    for ($i = 0; $i < 5; $i++) {
        $store->decideAgain(function () use ($store, $argv) {
            [$events, $version] = $store->read($argv[1]);
            $store->append($argv[1], [['type' => 'deposited', 'data' => ['total' => count($events) + 1]]], $version);
        }, 50);
    }
    exit;
}

ok($store->append('account-1', [['type' => 'opened'], ['type' => 'used']], 0) === 2, 'append');

$error = refused(VersionConflict::class, fn () => $db->fetchOne("SELECT es_append('account-1', '[{\"type\": \"used\"}]', 1)"));
ok($error->getSQLState() === 'VE001', 'the database layer shows a conflict');
ok(array_diff_assoc(['key' => 'account-1', 'expected' => 1, 'actual' => 2], $error->conflicts()[0]) === [], 'with its facts');
ok(!$error instanceof RetryableException, 'and does not call it retryable');
$error = refused(DeadlockException::class, fn () => $db->executeStatement("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"));
ok($error instanceof RetryableException, 'as it does 40001');

$db->executeStatement('CREATE TABLE doctrine_note (note text)');
$aggregate = new stdClass();
$error = refused(OptimisticLockException::class, fn () => $db->transactional(function () use ($db, $store, $aggregate) {
    $db->insert('doctrine_note', ['note' => 'stale']);
    $store->append('account-1', [['type' => 'used']], 1, $aggregate);
}));
ok($error->getEntity() === $aggregate && preg_match('/version 1 .* actually 2/', $error->getMessage()) === 1,
    "the store throws the ORM's OptimisticLockException");
ok($db->fetchOne('SELECT count(*) FROM doctrine_note') === 0, "the transaction's own rows are gone with it");

$calls = (object) ['n' => 0];       // an object, because fn () copies
refused(OptimisticLockException::class, fn () => $store->decideAgain(function () use ($store, $calls) {
    $calls->n++;
    $store->append('account-1', [['type' => 'used']], 77);
}, 3));
ok($calls->n === 3, 'decideAgain() lets a conflict through that stays');
$calls->n = 0;
refused(OptimisticLockException::class, fn () => $db->transactional(fn () => $store->decideAgain(function () use ($store, $calls) {
    $calls->n++;
    $store->append('account-1', [['type' => 'used']], 77);
})));
ok($calls->n === 1, 'at once inside of another transaction');
$calls->n = 0;
refused(DriverException::class, fn () => $store->decideAgain(function () use ($db, $calls) {
    $calls->n++;
    $db->fetchOne('SELECT 1/0');
}));
ok($calls->n === 1, 'and any other error at once');

$workers = array_map(fn () => proc_open([PHP_BINARY, __FILE__, 'account-2'], [], $pipes), range(1, 4));
foreach ($workers as $worker) {
    ok(proc_close($worker) === 0, 'worker');
}
[$events, $version] = $store->read('account-2');
$totals = array_map(fn ($event) => json_decode($event['data'])->total, $events);
ok($version === 20 && $totals === range(1, 20), 'of racing deposits none is lost or decided on old facts');
