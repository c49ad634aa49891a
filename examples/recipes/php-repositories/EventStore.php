<?php
/* Conditional appends with PDO: what both repositories beside this file stand on. */
declare(strict_types=1);

namespace App\Eventstore;

use PDO;
use PDOException;
use RuntimeException;

final class VersionConflict extends RuntimeException
{
    public string $key;
    public ?int $expected;
    public int $actual;

    public function __construct(string $key, ?int $expected, int $actual)
    {
        parent::__construct("aggregate \"$key\" is at version $actual, not at the expected version " . ($expected ?? 'none'));
        [$this->key, $this->expected, $this->actual] = [$key, $expected, $actual];
    }
}

final class EventStore
{
    private PDO $db;

    public function __construct(PDO $db)
    {
        $this->db = $db;
    }

    /** Events as [version, type, data, metadata]. */
    public function read(string $key, int $fromVersion = 1): array
    {
        $read = $this->db->prepare('SELECT version, type, data, metadata FROM es_read(?, ?)');
        $read->execute([$key, $fromVersion]);
        return array_map(static fn (array $row) => [
            'version' => (int) $row['version'],
            'type' => $row['type'],
            'data' => json_decode($row['data'] ?? 'null', true),
            'metadata' => json_decode($row['metadata'] ?? '{}', true),
        ], $read->fetchAll(PDO::FETCH_ASSOC));
    }

    public function version(string $key): int
    {
        $version = $this->db->prepare('SELECT es_version(?)');
        $version->execute([$key]);
        return (int) $version->fetchColumn();
    }

    /**
     * Append, and return the new version. Without an expected version, nobody's write is ever in the way. A repeat of
     * a request that landed changes nothing.
     *
     * es_try_append() refuses by a row, so that a transaction of the caller can go on, and the server's log stays clean.
     */
    public function append(string $key, array $events, ?int $expectedVersion, ?string $requestId = null): int
    {
        $append = $this->db->prepare('SELECT status, version FROM es_try_append(?, ?, ?, allow_create => true, request_id => ?)');
        $append->execute([$key, json_encode($events, JSON_THROW_ON_ERROR), $expectedVersion, $requestId]);
        ['status' => $status, 'version' => $version] = $append->fetch(PDO::FETCH_ASSOC);
        if ($status === 'version_conflict') {
            throw new VersionConflict($key, $expectedVersion, (int) $version);
        }
        if ($status !== 'appended' && $status !== 'repeated') {
            throw new PDOException("append to aggregate \"$key\" was refused: $status");
        }
        return (int) $version;
    }
}
