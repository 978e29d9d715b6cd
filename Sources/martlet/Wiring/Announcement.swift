import Foundation
import MartletNetwork

/// What the operator reads when the server has started.
struct Announcement {
    let loaded: LoadedConfiguration
    let file: String?
    let certificates: [CertificateFiles]
    let storePromise: String
    let openFiles: Int?

    var text: String {
        let configuration = loaded.configuration
        var lines = ["Martlet \(MartletVersion.current) is ready."]
        lines.append(line("domains", configuration.domains.map(\.name).joined(separator: ", ")))
        for listener in configuration.listeners {
            let kind = Self.encryption(listener.kind)
            let doubt = listener.plaintextAuthentication ? ", log-ins without TLS allowed" : ""
            if !configuration.opens(listener) { continue }
            let addresses = listener.addresses.map(\.description).joined(separator: ", ")
            lines.append(line(Self.users(of: listener.kind), "port \(listener.port) (\(kind)\(doubt)) on \(addresses)"))
        }
        if let port = configuration.metrics.port { lines.append(line("metrics", "http://\(host(configuration.metrics.address)):\(port)/metrics")) }
        var shown: Set<String> = []
        lines += certificates.filter { shown.insert($0.chain).inserted }.flatMap(certificateLines)
        let admins = configuration.access.admins + configuration.domains.flatMap(\.admins)
        lines.append(line("admins", admins.isEmpty ? "none" : admins.joined(separator: ", ")))
        lines.append(line("data", "\(configuration.server.dataFolder) (\(storePromise))"))
        lines.append(line("configuration", file ?? "defaults and the environment"))
        if let openFiles { lines.append(line("open files", "\(openFiles): room for \(OpenFileLimit.connections(within: openFiles)) connections")) }
        lines.append(line("add an account", Self.command("account add NAME@\(configuration.domains.first?.name ?? "DOMAIN")", file)))
        return lines.joined(separator: "\n") + "\n"
    }

    private static func users(of kind: ListenerKind) -> String {
        switch kind {
        case .client, .clientTLS: "clients"
        case .server, .serverTLS: "servers"
        case .https, .http: "web"
        case .component, .componentTLS: "components"
        case .ldap, .ldaps: "directory"
        }
    }

    private static func encryption(_ kind: ListenerKind) -> String {
        switch kind {
        case .client, .server: "STARTTLS"
        case .clientTLS, .serverTLS, .componentTLS, .ldaps: "TLS"
        case .ldap: "StartTLS"
        case .component: "no encryption"
        case .https: "HTTPS"
        case .http: "HTTP behind a proxy"
        }
    }

    /// A command line that reaches the same server.
    static func command(_ words: String, _ file: String?) -> String {
        let program = CommandLine.arguments.first ?? "martlet"
        let quoted = file.map { " --config \($0.contains(" ") ? "'\($0)'" : $0)" } ?? ""
        return "\(program) \(words)\(quoted)"
    }

    private func certificateLines(_ files: CertificateFiles) -> [String] {
        guard let pem = try? PrivateFiles.read(files.chain, bytesMax: 1 << 20),
            let fingerprint = CertificateFingerprint(pem: String(decoding: pem, as: UTF8.self))
        else { return [line("certificate", files.chain)] }
        let kind = fingerprint.isSelfSigned ? "made by this server, clients must be told to trust it; " : ""
        return [
            line("certificate", "\(files.chain) (\(kind)until \(Timestamp.text(Int64(fingerprint.ends.timeIntervalSince1970) * 1000).prefix(10)))"),
            line("", "SHA-256 \(fingerprint.sha256)"),
        ]
    }

    private func host(_ address: IPAddress) -> String { address.isIPv6 ? "[\(address)]" : address.description }

    private func line(_ name: String, _ value: String) -> String {
        "  " + name + String(repeating: " ", count: max(16 - name.count, 1)) + value
    }
}
