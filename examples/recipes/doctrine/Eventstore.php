<?php
/*
 * Conditional appends with Doctrine: a version conflict is the ORM's
 * OptimisticLockException, as when an entity with a @Version was changed by somebody
 * else.
 *
 * Below it, the database layer shows VersionConflict.  That is no RetryableException, so
 * what replays those (DeadlockException: 40001, 40P01) leaves it alone.
 */
declare(strict_types=1);

namespace App\Eventstore;

use Doctrine\DBAL\Connection;
use Doctrine\DBAL\Driver;
use Doctrine\DBAL\Driver\API\ExceptionConverter;
use Doctrine\DBAL\Driver\Middleware;
use Doctrine\DBAL\Driver\Middleware\AbstractDriverMiddleware;
use Doctrine\DBAL\Exception\DriverException;
use Doctrine\DBAL\Exception\RetryableException;
use Doctrine\DBAL\Query;
use Doctrine\ORM\OptimisticLockException;

final class VersionConflict extends DriverException
{
    /** Each as the server tells it: entry, key, status, expected, actual. */
    public function conflicts(): array
    {
        // PDO has DETAIL inside of the message only.
        preg_match('/^DETAIL:  (.*)$/m', $this->getPrevious()->getMessage(), $match);
        return json_decode($match[1] ?? '{"conflicts": []}', true)['conflicts'];
    }
}

/** $configuration->setMiddlewares([new EventstoreMiddleware()]); Symfony: tag it doctrine.middleware. */
final class EventstoreMiddleware implements Middleware
{
    public function wrap(Driver $driver): Driver
    {
        return new class ($driver) extends AbstractDriverMiddleware {
            public function getExceptionConverter(): ExceptionConverter
            {
                return new ConflictConverter(parent::getExceptionConverter());
            }
        };
    }
}

final class ConflictConverter implements ExceptionConverter
{
    private ExceptionConverter $others;

    public function __construct(ExceptionConverter $others)
    {
        $this->others = $others;
    }

    public function convert(Driver\Exception $exception, ?Query $query): DriverException
    {
        return $exception->getSQLState() === 'VE001'
            ? new VersionConflict($exception, $query)
            : $this->others->convert($exception, $query);
    }
}

final class EventStore
{
    private Connection $db;

    public function __construct(Connection $db)
    {
        $this->db = $db;
    }

    /** The events of an aggregate, and its version. */
    public function read(string $key): array
    {
        $events = $this->db->fetchAllAssociative('SELECT version, type, data FROM es_read(?)', [$key]);
        return [$events, $events ? end($events)['version'] : 0];
    }

    /** Append in the current transaction, with whatever else it writes; return the new version. */
    public function append(string $key, array $events, ?int $expectedVersion, ?object $aggregate = null): int
    {
        try {
            return $this->db->fetchOne('SELECT es_append(?, ?, ?)',
                [$key, json_encode($events, JSON_THROW_ON_ERROR), $expectedVersion]);
        } catch (VersionConflict $conflict) {
            $facts = $conflict->conflicts()[0];
            throw OptimisticLockException::lockFailedVersionMismatch(
                $aggregate ?? (object) ['key' => $key], $facts['expected'], $facts['actual']);
        }
    }

    /** Run $work in a transaction, and all of it again after a conflict: it must read before it decides. */
    public function decideAgain(callable $work, int $attempts = 10)
    {
        for ($attempt = 1; ; $attempt++) {
            try {
                return $this->db->transactional($work);
            } catch (OptimisticLockException | RetryableException $error) {
                if ($attempt === $attempts || $this->db->isTransactionActive()) {
                    throw $error;
                }
            }
            usleep(random_int(0, min(1_000_000, 5_000 * 2 ** $attempt)));
        }
    }
}
