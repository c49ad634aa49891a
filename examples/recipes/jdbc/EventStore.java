import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import javax.sql.DataSource;
import org.postgresql.util.PSQLException;

/**
 * Conditional appends with JDBC: a version conflict is an exception of its own.
 *
 * The driver throws PSQLException for everything, never SQLTransientException or one of the other classes of JDBC: what
 * replays by class, or by SQLSTATE class 40 or 08, leaves a conflict alone.
 */
public final class EventStore {
    /** The aggregate is not where it was read: read it again, and decide again. */
    public static final class VersionConflict extends SQLException {
        private static final long serialVersionUID = 1;
        public final transient JsonArray conflicts;

        VersionConflict(PSQLException error) {
            super(error.getServerErrorMessage().getMessage(), error.getSQLState(), error);
            conflicts = JsonParser.parseString(error.getServerErrorMessage().getDetail())
                .getAsJsonObject().getAsJsonArray("conflicts");
        }

        /** The first one: entry, key, status, expected (or null), actual. */
        public JsonObject first() {
            return conflicts.get(0).getAsJsonObject();
        }
    }

    public record Event(long version, String type, String data) {
    }

    @FunctionalInterface
    public interface Work<T> {
        T in(Connection transaction) throws SQLException;
    }

    // PostgreSQL's own "start again".
    private static final Set<String> START_AGAIN = Set.of("40001", "40P01");

    private EventStore() {
    }

    /** Run it through this where the statement may meet a conflict. */
    public static SQLException translate(SQLException error) {
        return "VE001".equals(error.getSQLState()) && error instanceof PSQLException server
            ? new VersionConflict(server) : error;
    }

    public static List<Event> read(Connection db, String key) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement("SELECT version, type, data FROM es_read(?)")) {
            statement.setString(1, key);
            try (ResultSet rows = statement.executeQuery()) {
                List<Event> events = new ArrayList<>();
                while (rows.next()) {
                    events.add(new Event(rows.getLong(1), rows.getString(2), rows.getString(3)));
                }
                return events;
            }
        }
    }

    public static long version(List<Event> events) {
        return events.isEmpty() ? 0 : events.get(events.size() - 1).version();
    }

    /** Append in the current transaction, with whatever else it writes; return the new version. */
    public static long append(Connection db, String key, List<?> events, Long expectedVersion) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement("SELECT es_append(?, ?::jsonb, ?)")) {
            statement.setString(1, key);
            statement.setString(2, new Gson().toJson(events));
            statement.setObject(3, expectedVersion, Types.BIGINT);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getLong(1);
            }
        } catch (SQLException error) {
            throw translate(error);
        }
    }

    /** Run work in a transaction, and all of it again after a conflict: it must read before it decides. */
    public static <T> T decideAgain(DataSource source, int attempts, Work<T> work) throws SQLException {
        for (int attempt = 1; ; attempt++) {
            try (Connection db = source.getConnection()) {
                db.setAutoCommit(false);
                try {
                    T result = work.in(db);
                    db.commit();
                    return result;
                } catch (SQLException | RuntimeException error) {
                    db.rollback();
                    boolean again = error instanceof VersionConflict
                        || error instanceof SQLException sql && START_AGAIN.contains(sql.getSQLState());
                    if (!again || attempt == attempts) {
                        throw error;
                    }
                }
            }
            pause(attempt);
        }
    }

    private static void pause(int attempt) throws SQLException {
        try {
            Thread.sleep(ThreadLocalRandom.current().nextLong(Math.min(1000, 5L << Math.min(attempt, 8))));
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new SQLException("interrupted between two attempts", interrupted);
        }
    }
}
