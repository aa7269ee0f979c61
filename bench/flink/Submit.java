import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * Submits the SQL statements of a file to the cluster that a folder of settings names, prints the id of each job that begins by it, and
 * doesn't wait for its end. (Flink's own client for SQL files needs a jar that its Python packages don't have.)
 */
public class Submit {
    public static void main(String[] arguments) throws Exception {
        var settings = GlobalConfiguration.loadConfiguration(arguments[0]);
        var tables = TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        for (String statement : Files.readString(Path.of(arguments[1])).split(";\\s*(\n|$)")) {
            TableResult result = tables.executeSql(statement);
            result.getJobClient().ifPresent(job -> System.out.println("job " + job.getJobID()));
        }
    }
}
