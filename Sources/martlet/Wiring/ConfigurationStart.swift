import MartletDirectory

/// The configuration with which a server starts: the file's, and what a directory says over it.
struct ConfigurationStart: Sendable {
    /// What a directory has said.
    struct Followed: Sendable {
        let tree: ConfigurationTree
        /// Why it is what was in force last, if it is; `nil` if the directory has said it just now.
        let trouble: String?
    }

    let loaded: LoadedConfiguration
    /// `nil` where no directory is asked.
    let followed: Followed?

    /// Asks the directory if the file names one. If it does not answer, or what it says is no good, what was in force last serves; without that there is no start:
    /// the file alone may allow what the directory forbids.
    static func load(file: String, environment: [String: String]) async throws(CommandFailure) -> ConfigurationStart {
        let bootstrap: ServerConfiguration
        do throws(ConfigurationFailure) {
            bootstrap = try ConfigurationLoader.standard.bootstrap(file: file, environment: environment)
        } catch {
            throw CommandFailure(error)
        }
        guard let assembly = ConfigurationDirectoryAssembly(bootstrap) else { return ConfigurationStart(loaded: try loaded(file, environment, nil), followed: nil) }
        // It is missed only if the directory is.
        let keeping = kept(bootstrap)
        let before = (try? keeping.get()).flatMap { try? loaded(file, environment, $0) }
        do throws(CommandFailure) {
            let tree = try await read(assembly)
            let loaded = try loaded(file, environment, tree)
            if let refusal = LockOut.refusal(of: loaded, inPlaceOf: before?.configuration) { throw CommandFailure(.configuration, refusal.description) }
            return ConfigurationStart(loaded: loaded, followed: Followed(tree: tree, trouble: nil))
        } catch {
            guard let kept = try keeping.get() else { throw error }
            return ConfigurationStart(loaded: try loaded(file, environment, kept), followed: Followed(tree: kept, trouble: error.message))
        }
    }

    private static func kept(_ bootstrap: ServerConfiguration) -> Result<ConfigurationTree?, CommandFailure> {
        do throws(CommandFailure) {
            return .success(try KeptTrees(dataFolder: bootstrap.server.dataFolder).latest(bootstrap.configurationDirectory))
        } catch {
            return .failure(error)
        }
    }

    private static func loaded(
        _ file: String, _ environment: [String: String], _ tree: ConfigurationTree?
    ) throws(CommandFailure) -> LoadedConfiguration {
        do throws(ConfigurationFailure) {
            return try ConfigurationLoader.standard.load(file: file, environment: environment, tree: tree)
        } catch {
            throw CommandFailure(error)
        }
    }

    private static func read(_ assembly: ConfigurationDirectoryAssembly) async throws(CommandFailure) -> ConfigurationTree {
        let client = try assembly.briefClient()
        let result: Result<ConfigurationTree, DirectoryFailure>
        do throws(DirectoryFailure) { result = .success(try await assembly.read(client)) } catch { result = .failure(error) }
        await client.close()
        switch result {
        case .failure(let failure):
            throw CommandFailure(
                .temporary, "the directory with the configuration cannot be asked: \(failure)",
                hint: "nothing that it has said before is kept here, so that there is no start without it")
        case .success(let tree):
            if let absence = tree.absence { throw CommandFailure(.configuration, absence, hint: "'martlet config import' makes one") }
            return tree
        }
    }
}
