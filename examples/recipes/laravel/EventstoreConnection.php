<?php
/*
 * Conditional appends with Laravel's database layer: a version conflict is an
 * exception of its own.
 *
 * Laravel has none for optimistic locks, and DB::transaction($work, $attempts) replays
 * whatever exception has a text like "deadlock detected" in its message.  A
 * QueryException has the SQL with its values there, so with the events of a user and
 * the key of an aggregate: an append that can never succeed would be replayed for what
 * it was to store.  VersionConflict keeps both out of its message.
 */
declare(strict_types=1);

namespace App\Eventstore;

use Closure;
use Illuminate\Database\Connection;
use Illuminate\Database\PostgresConnection;
use Illuminate\Database\QueryException;
use PDOException;
use RuntimeException;

final class VersionConflict extends RuntimeException
{
    /** Each as the server tells it: entry, key, status, expected, actual. */
    public array $conflicts;

    public function __construct(array $conflicts, ?PDOException $previous = null)
    {
        parent::__construct('An aggregate is not at the expected version.', 0, $previous);
        $this->conflicts = $conflicts;
    }
}

final class EventstoreConnection extends PostgresConnection
{
    /** Call it from the register() of a service provider. */
    public static function register(): void
    {
        Connection::resolverFor('pgsql', static fn (...$arguments) => new self(...$arguments));
    }

    protected function runQueryCallback($query, $bindings, Closure $callback)
    {
        try {
            return parent::runQueryCallback($query, $bindings, $callback);
        } catch (QueryException $error) {
            $cause = $error->getPrevious();
            // PDO has DETAIL inside of the message only.
            if ($error->getCode() === 'VE001' && preg_match('/^DETAIL:  (.*)$/m', $cause->errorInfo[2], $match)) {
                throw new VersionConflict(json_decode($match[1], true)['conflicts'], $cause);
            }
            throw $error;
        }
    }

    /** The events of an aggregate, and its version. */
    public function readAggregate(string $key): array
    {
        $events = $this->select('SELECT version, type, data FROM es_read(?)', [$key]);
        return [$events, $events ? end($events)->version : 0];
    }

    /** Append in the current transaction, with whatever else it writes; return the new version. */
    public function append(string $key, array $events, ?int $expectedVersion): int
    {
        return $this->selectOne('SELECT es_append(?, ?, ?) AS version',
            [$key, json_encode($events, JSON_THROW_ON_ERROR), $expectedVersion])->version;
    }

    /** Run $work in a transaction, and all of it again after a conflict: it must read before it decides. */
    public function decideAgain(Closure $work, int $attempts = 10)
    {
        for ($attempt = 1; ; $attempt++) {
            try {
                return $this->transaction($work);
            } catch (VersionConflict | QueryException $error) {
                $again = $error instanceof VersionConflict || in_array($error->getCode(), ['40001', '40P01'], true);
                if ($attempt === $attempts || !$again || $this->transactionLevel() > 0) {
                    throw $error;
                }
            }
            usleep(random_int(0, min(1_000_000, 5_000 * 2 ** $attempt)));
        }
    }
}
