package import MartletLDAP

extension ServerConfiguration {
    /// A directory that says parts of the configuration, over the file.
    package struct ConfigurationDirectory: DirectoryReach {
        package var servers: [String] = []
        package var startTLS = Directory.StartTLS.required
        package var trustAnchors: String?
        package var certificate: String?
        package var key: String?
        package var logIn = Directory.LogIn()
        package var connectTimeout = Duration.seconds(3)
        package var operationTimeout = Duration.seconds(5)
        /// The name of the entry that says what holds for the whole server. Nothing is asked without it.
        package var base: String?
        /// Which of the entries below `cn=nodes` is about this machine.
        package var node: String?
        package var following = Directory.Following.automatic

        package init() {}
    }
}

extension ServerConfiguration.ConfigurationDirectory {
    /// The name of the tree, if there is one to be asked for.
    package var tree: DistinguishedName? {
        guard !servers.isEmpty, let base else { return nil }
        return try? DistinguishedName(base)
    }
}

extension ConfigurationSchema {
    static let configurationDirectory = ConfigurationMapping<ServerConfiguration.ConfigurationDirectory>([
        .value(
            "base", \.base, .optional(.distinguishedName), .restart, example: "cn=martlet,ou=config,dc=example,dc=org",
            "The entry that holds what is said of the whole server; all else is below it. martlet directory schema prints the classes."),
        .value(
            "node", \.node, .optional(.directoryText), .restart, example: "chat1",
            "The name of this machine there: what cn=chat1,cn=nodes below the base says counts over all else that the directory says."),
        .value("follow", \.following, .choice, .restart, "How changes are learnt, as in directories.follow."),
    ]).with(
        reach(logIn: "How this server proves to the directory who it is. Its account there reads the tree; martlet config import writes it."), behind: "node")
}

extension ConfigurationChecks {
    mutating func checkConfigurationDirectory() {
        let (section, path) = (configuration.configurationDirectory, "configuration-directory")
        guard section != ServerConfiguration.ConfigurationDirectory() else { return }
        checkReach(section, at: path)
        guard section.base == nil else { return }
        report("\(path).base", "it is not said which entry holds the configuration", hint: "write its name, such as cn=martlet,ou=config,dc=example,dc=org")
    }
}
