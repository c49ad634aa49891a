#!/usr/bin/env php
<?php
/*
 * Read, decide, append, and again after a conflict: with PDO.
 *
 *     counter.php KEY WORKERS INCREMENTS [ATTEMPTS]
 *
 * Each worker increments the counter KEY so many times, all of them at once.  The
 * database is that of the environment variables PGHOST, PGDATABASE and so on.
 *
 * Needs the Debian packages php-cli and php-pgsql.
 */
declare(strict_types=1);

// VE001 is ours: decide again.  40001 and 40P01 are PostgreSQL's own for "start again".
const TRY_AGAIN = ['VE001', '40001', '40P01'];

/* Append what $decide makes of the aggregate; return its new version. */
function change(PDO $db, string $key, callable $decide, int $attempts = 10, ?callable $onConflict = null): int
{
    for ($attempt = 1; ; $attempt++) {
        try {
            $db->beginTransaction();
            $read = $db->prepare('SELECT version, data FROM es_read(?)');
            $read->execute([$key]);
            $events = $read->fetchAll(PDO::FETCH_ASSOC);
            $version = $events ? end($events)['version'] : 0;
            $append = $db->prepare('SELECT es_append(?, ?, ?)');
            $append->execute([$key, json_encode($decide($events)), $version]);
            $version = $append->fetchColumn();
            $db->commit();
            return $version;
        } catch (PDOException $error) {
            if ($db->inTransaction()) {
                $db->rollBack();
            }
            if (!in_array($error->getCode(), TRY_AGAIN, true) || $attempt === $attempts) {
                throw $error;
            }
            $onConflict && $onConflict($error);
        }
        usleep(random_int(0, min(1_000_000, 5_000 * 2 ** $attempt)));
    }
}

/* The facts of a conflict are in DETAIL, as JSON.  PDO has it inside of the message only. */
function describe(PDOException $error): string
{
    if ($error->getCode() !== 'VE001' || !preg_match('/^DETAIL:  (.*)$/m', $error->errorInfo[2], $match)) {
        return "conflict: SQLSTATE {$error->getCode()}";
    }
    $conflict = json_decode($match[1], true)['conflicts'][0];
    return "conflict: expected version {$conflict['expected']}, actual {$conflict['actual']}";
}

/* The decision: it is wrong, and not only late, if the events are old. */
function increment(array $events): array
{
    $value = $events ? json_decode(end($events)['data'], true)['value'] : 0;
    return [['type' => 'incremented', 'data' => ['value' => $value + 1]]];
}

function work(int $worker, string $key, int $increments, int $attempts): bool
{
    $conflicts = 0;
    $onConflict = function (PDOException $error) use (&$conflicts): void {
        $conflicts++;
        fwrite(STDERR, describe($error) . "\n");
    };
    $db = new PDO('pgsql:');

    try {
        for ($i = 0; $i < $increments; $i++) {
            change($db, $key, 'increment', $attempts, $onConflict);
        }
    } catch (PDOException $error) {
        if (!in_array($error->getCode(), TRY_AGAIN, true)) {
            throw $error;
        }
        fwrite(STDERR, "worker $worker gives up: " . describe($error) . "\n");
        return false;
    }
    echo "worker $worker: $increments increments, $conflicts conflicts\n";
    return true;
}

if ($argc !== 4 && $argc !== 5) {
    fwrite(STDERR, "usage: counter.php KEY WORKERS INCREMENTS [ATTEMPTS]\n");
    exit(1);
}
for ($worker = 1; $worker <= (int) $argv[2]; $worker++) {
    if (pcntl_fork() === 0) {
        exit(work($worker, $argv[1], (int) $argv[3], (int) ($argv[4] ?? 10)) ? 0 : 1);
    }
}
$status = 0;
while (pcntl_wait($child) > 0) {
    $status |= pcntl_wexitstatus($child);
}
exit($status);
