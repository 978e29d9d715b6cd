/// Keys that are taken from the file and the environment alone, whatever a directory says.
package enum MachineKeys {
    /// By which the directory is reached, and what belongs to this machine: files that the server writes, and who it is here.
    private static let own: Set<String> = [
        "configuration-directory", "server.data", "server.control-socket", "server.run-as-root", "log.destination", "uploads.folder",
    ]

    /// What keys are called that name a file with a secret. A directory is read by many, and replicated.
    private static let secrets: Set<String> = ["key", "second-key", "keytab"]

    /// Why a directory may not say it; `nil` if it may.
    ///
    /// - Parameter path: of the key in the schema, such as `domains.key`.
    package static func refusal(of path: String) -> String? {
        if own.contains(path) { return "is this machine's own matter, and taken from the file alone" }
        let name = path.split(separator: ".").last.map(String.init) ?? path
        guard secrets.contains(name) || name.hasSuffix("-file") else { return nil }
        return "names a file with a secret, and is taken from this machine's file alone"
    }
}
