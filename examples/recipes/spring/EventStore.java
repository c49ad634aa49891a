import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.sql.SQLException;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;
import org.postgresql.util.PSQLException;
import org.springframework.dao.DataAccessException;
import org.springframework.dao.OptimisticLockingFailureException;
import org.springframework.dao.PessimisticLockingFailureException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.support.SQLErrorCodeSQLExceptionTranslator;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * Conditional appends with Spring JDBC: a version conflict is an OptimisticLockingFailureException, as JPA gives for an
 * entity with a @Version.
 *
 * For Spring that is a TransientDataAccessException and a ConcurrencyFailureException. What replays those blindly would
 * replay a conflict; let it replay PessimisticLockingFailureException instead (40001, 40P01), and an
 * OptimisticLockingFailureException only around all of reading, deciding and appending, as decideAgain() does.
 */
public final class EventStore {
    /** The aggregate is not where it was read: read it again, and decide again. */
    public static final class VersionConflict extends OptimisticLockingFailureException {
        private static final long serialVersionUID = 1;
        public final String key;
        public final Long expected;
        public final long actual;

        VersionConflict(PSQLException error) {
            super(error.getServerErrorMessage().getMessage(), error);
            JsonObject first = JsonParser.parseString(error.getServerErrorMessage().getDetail()).getAsJsonObject()
                .getAsJsonArray("conflicts").get(0).getAsJsonObject();
            key = first.get("key").getAsString();
            expected = first.get("expected").isJsonNull() ? null : first.get("expected").getAsLong();
            actual = first.get("actual").getAsLong();
        }
    }

    /** For every JdbcTemplate that may meet a conflict: setExceptionTranslator(new ConflictTranslator()). */
    public static final class ConflictTranslator extends SQLErrorCodeSQLExceptionTranslator {
        public ConflictTranslator() {
            super("PostgreSQL");
        }

        @Override
        protected DataAccessException customTranslate(String task, String sql, SQLException error) {
            if ("VE001".equals(error.getSQLState()) && error instanceof PSQLException server) {
                return new VersionConflict(server);
            }
            return null;
        }
    }

    public record Event(long version, String type, String data) {
    }

    private final JdbcTemplate jdbc;
    private final TransactionTemplate transaction;

    public EventStore(JdbcTemplate jdbc, PlatformTransactionManager transactions) {
        this.jdbc = jdbc;
        this.transaction = new TransactionTemplate(transactions);
        // In an outer transaction a second attempt might see what the first has seen.
        this.transaction.setPropagationBehavior(TransactionDefinition.PROPAGATION_REQUIRES_NEW);
    }

    public List<Event> read(String key) {
        return jdbc.query("SELECT version, type, data FROM es_read(?)",
            (row, n) -> new Event(row.getLong(1), row.getString(2), row.getString(3)), key);
    }

    public static long version(List<Event> events) {
        return events.isEmpty() ? 0 : events.get(events.size() - 1).version();
    }

    /** Append in the current transaction, with whatever else it writes; return the new version. */
    public long append(String key, List<?> events, Long expectedVersion) {
        return jdbc.queryForObject("SELECT es_append(?, ?::jsonb, ?::bigint)", Long.class,
            key, new Gson().toJson(events), expectedVersion);
    }

    /** Run work in a transaction of its own, and all of it again after a conflict: it must read before it decides. */
    public <T> T decideAgain(int attempts, Supplier<T> work) {
        for (int attempt = 1; ; attempt++) {
            try {
                return transaction.execute(status -> work.get());
            } catch (OptimisticLockingFailureException | PessimisticLockingFailureException error) {
                if (attempt == attempts) {
                    throw error;
                }
            }
            pause(attempt);
        }
    }

    private static void pause(int attempt) {
        try {
            Thread.sleep(ThreadLocalRandom.current().nextLong(Math.min(1000, 5L << Math.min(attempt, 8))));
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted between two attempts", interrupted);
        }
    }
}
