// A tour of Driftline by JDBC, as a BI tool would make it. Prints what it sees.

import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Instant;
import java.util.Properties;

class Tour {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("useEncryption", "false");
        try (Connection connection = DriverManager.getConnection(args[0], properties)) {
            metadata(connection.getMetaData());
            types(connection);
            prepared(connection);
            mistakes(connection);
            cancel(connection);
        }
    }

    static void metadata(DatabaseMetaData about) throws SQLException {
        System.out.println("product: " + about.getDatabaseProductName() + ", read only: " + about.isReadOnly());
        System.out.println("quote: " + about.getIdentifierQuoteString());
        print("catalogs", about.getCatalogs(), "TABLE_CAT");
        print("schemas", about.getSchemas(null, "feat%"), "TABLE_SCHEM");
        print("types of table", about.getTableTypes(), "TABLE_TYPE");
        print("tables", about.getTables(null, "features", "_eather", new String[] {"TABLE"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE");
        print("columns", about.getColumns(null, "features", "weather", "%"), "COLUMN_NAME", "TYPE_NAME", "DATA_TYPE", "IS_NULLABLE", "ORDINAL_POSITION");
        print("some columns", about.getColumns(null, "features", "weather", "t_mp"), "COLUMN_NAME");
        print("primary key", about.getPrimaryKeys(null, "features", "weather_latest"), "COLUMN_NAME", "KEY_SEQ");
        print("imported keys", about.getImportedKeys(null, "features", "weather"), "FKCOLUMN_NAME");
        print("exported keys", about.getExportedKeys(null, "features", "weather"), "FKCOLUMN_NAME");
        print("cross reference", about.getCrossReference(null, "features", "weather", null, "features", "weather"), "FKCOLUMN_NAME");
    }

    static void types(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery("SELECT true AS flag, 7::INTEGER AS small, 7000000000 AS large, 0.5::DOUBLE AS number,"
                        + " 'NaN'::DOUBLE AS nan, 123456789012.25::DECIMAL(18, 2) AS money, 'ä' AS word, DATE '2013-06-01' AS day,"
                        + " TIMESTAMPTZ '2013-06-01 12:00:00.000001+02' AS at, [1, NULL, 3] AS list, {'x': 1, 'y': 'a'} AS pair, NULL::BIGINT AS nothing")) {
            ResultSetMetaData columns = row.getMetaData();
            row.next();
            for (int i = 1; i <= columns.getColumnCount(); i++) {
                String name = columns.getColumnName(i);
                Object value = name.equals("at") ? row.getTimestamp(i).toInstant() : row.getObject(i);
                System.out.println("value " + name + " " + columns.getColumnTypeName(i) + ": " + value + (row.wasNull() ? " (null)" : ""));
            }
        }
    }

    static void prepared(Connection connection) throws SQLException {
        String query = "SELECT origin, temp, event_timestamp FROM features.weather WHERE origin = ? AND temp >= ? AND event_timestamp <= ?";
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            for (String origin : new String[] {"JFK", "LGA", "EWR"}) {
                statement.setString(1, origin);
                statement.setDouble(2, 19.5);
                statement.setTimestamp(3, Timestamp.from(Instant.parse("2013-06-01T10:00:00Z")));
                print("prepared " + origin, statement.executeQuery(), "origin", "temp");
            }
        }
    }

    static void mistakes(Connection connection) {
        for (String query : new String[] {"SELECT temprature FROM features.weather", "SELECT * FROM features.wether", "DELETE FROM features.weather"}) {
            try (Statement statement = connection.createStatement()) {
                statement.execute(query);
                System.out.println("no mistake: " + query);
            } catch (SQLException mistake) {
                System.out.println("mistake: " + mistake.getMessage().lines().findFirst().get());
            }
        }
    }

    // A cancelled query ends with an exception and leaves the connection usable.
    static void cancel(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT a.i FROM range(1000000) a(i), range(100) b(j)")) {
            rows.next();
            statement.cancel();
            try {
                for (long n = 0; rows.next(); n++) {
                    if (n > 90_000_000L) {
                        System.out.println("not cancelled");
                        break;
                    }
                }
                System.out.println("cancelled: ended");
            } catch (SQLException cancelled) {
                System.out.println("cancelled");
            }
        }
        try (Statement statement = connection.createStatement()) {
            print("after", statement.executeQuery("SELECT count(*) AS n FROM features.weather"), "n");
        }
    }

    static void print(String what, ResultSet rows, String... columns) throws SQLException {
        try (rows) {
            while (rows.next()) {
                StringBuilder line = new StringBuilder(what + ":");
                for (String column : columns) {
                    line.append(' ').append(rows.getObject(column));
                }
                System.out.println(line);
            }
        }
    }
}
