import Logging
import MartletCore
import MartletDirectory
import MartletLDAP
import NIOCore
import NIOPosix

/// Makes of the file how the directory is asked that says the rest of the configuration.
struct ConfigurationDirectoryAssembly: Sendable {
    let section: ServerConfiguration.ConfigurationDirectory
    let base: DistinguishedName

    /// `nil` if there is none.
    init?(_ configuration: ServerConfiguration) {
        guard let base = configuration.configurationDirectory.tree else { return nil }
        section = configuration.configurationDirectory
        self.base = base
    }

    func client(time: any TimeSource, on group: any EventLoopGroup, log: Logger) throws(CommandFailure) -> DirectoryClient {
        let servers = try DirectoryAssembly.servers(of: section, "configuration-directory", time: time, on: group, log: log)
        var settings = DirectoryClient.Settings()
        settings.identity = try DirectoryAssembly.identity(section)
        return DirectoryClient(servers, settings, log: log)
    }

    /// For who asks once and is gone again.
    func briefClient() throws(CommandFailure) -> DirectoryClient {
        // What is to be said of it is said by whoever asks.
        let log = Logger(label: "directory") { _ in SwiftLogNoOpLogHandler() }
        return try client(time: SystemClock(), on: MultiThreadedEventLoopGroup.singleton, log: log)
    }

    var question: FollowedSubtree.Question {
        FollowedSubtree.Question(
            base: base.description, filter: ConfigurationTree.filter, attributes: ConfigurationTree.attributes, detection: section.following.detection)
    }

    func tree(_ entries: [LDAPEntry]) -> ConfigurationTree { ConfigurationTree(entries, base: base, node: section.node) }

    /// The whole tree as it is now; without entries if there is none.
    func read(_ client: DirectoryClient) async throws(DirectoryFailure) -> ConfigurationTree {
        let connection = try await client.service().connection
        let request = SearchRequest(base.description, .wholeSubtree, ConfigurationTree.filter, attributes: ConfigurationTree.attributes)
        var entries: [LDAPEntry] = []
        do throws(DirectoryFailure) {
            for try await entry in connection.pages(of: request) {
                guard entries.count < FollowedSubtree.entriesMax else { throw .tooMany }
                entries.append(entry)
            }
        } catch {
            guard case .refused(let result) = error, result.code == .noSuchObject else { throw error }
        }
        return tree(entries)
    }
}
