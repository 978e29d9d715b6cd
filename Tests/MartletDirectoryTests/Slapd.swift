import Foundation
import MartletDirectory
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// OpenLDAP's server, on loopback, with ports and a folder of its own, and the entries of `Fixtures/directory/base.ldif`. It ends with the test.
///
/// The administrator is `cn=admin,dc=example,dc=org` (`secret`), the service `cn=martlet,ou=services,dc=example,dc=org` (`martletpw`), which may do everything.
/// On its own socket, root and whoever runs the tests are the service by SASL EXTERNAL. Passwords wait for three wrong ones (`policy`).
final class Slapd {
    struct Options {
        /// A test authority, a certificate for `localhost` and 127.0.0.1, and `ldaps:` as well.
        var hasTLS = false
        /// A client's certificate, whose subject is the service: with ``hasTLS``.
        var knowsClients = false
        /// draft-behera-ldap-password-policy: three wrong passwords lock an account.
        var hasPolicy = false
        /// What the certificate is for, instead of ``Slapd/secure``'s host.
        var certificateName: String?
        /// Entries that a search brings the service, unless it asks page by page; `nil` for all.
        var sizeLimit: Int?
        /// Whether it remembers what was deleted, so that who comes back is told (RFC 4533).
        var hasSessionLog = true
        /// Whether the service may act for people (RFC 4370), who may change some of what their entries say.
        var actsForPeople = false
        /// Lines for the database's part of the configuration, before its overlays.
        var more = ""
    }

    static let path = ["/usr/sbin/slapd", "/usr/libexec/slapd", "/usr/lib/openldap/slapd"].first { FileManager.default.isExecutableFile(atPath: $0) }
    static let isMissing: Comment = "slapd is not installed: apt-get install slapd slapd-contrib ldap-utils"
    static let isInstalled = path != nil

    static let admin = "cn=admin,dc=example,dc=org"
    static let adminPassword = "secret"
    static let service = "cn=martlet,ou=services,dc=example,dc=org"
    static let servicePassword = "martletpw"

    let folder: String
    let port: Int
    let securePort: Int
    private let options: Options
    private var process: Process?
    /// Kept, so that it can go on speaking; it says little.
    private var output: FileHandle?
    private(set) var log = ""

    /// A folder with a configuration and the entries; the server runs.
    init(_ change: (inout Options) -> Void = { _ in }) throws {
        var options = Options()
        change(&options)
        self.options = options
        folder = NSTemporaryDirectory() + "martlet-slapd-\(UUID().uuidString.prefix(8))"
        let ports = try (0..<2).map { _ in try FreePort() }
        (port, securePort) = (ports[0].number, ports[1].number)
        for socket in ports { socket.close() }
        try FileManager.default.createDirectory(atPath: folder + "/db", withIntermediateDirectories: true)
        if options.hasTLS { try Self.makeCertificates(folder, options.certificateName) }
        try configuration.write(toFile: file("slapd.conf"), atomically: true, encoding: .utf8)
        try load(file: Self.fixture("base.ldif"))
        if options.hasPolicy { try load(Self.policies) }
        try start()
        if options.actsForPeople {
            try modify("dn: \(Self.service)\nchangetype: modify\nadd: authzTo\nauthzTo: dn.subtree:ou=people,dc=example,dc=org\n")
        }
    }

    deinit {
        kill(SIGKILL)
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Where the clear port is.
    var plain: DirectoryAddress { .plain(host: "localhost", port: port) }
    /// Where TLS begins at once.
    var secure: DirectoryAddress { .secure(host: "localhost", port: securePort) }
    /// Its own socket.
    var local: DirectoryAddress { .local(path: file("ldapi")) }

    func file(_ name: String) -> String { folder + "/" + name }

    private static func fixture(_ name: String) -> String {
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/Fixtures/directory/" + name
    }

    // MARK: Its life

    /// Returns when somebody can connect to it.
    func start() throws {
        log = ""
        let urls = ["ldap://127.0.0.1:\(port)", "ldapi://" + file("ldapi").replacing("/", with: "%2F")]
        let secure = options.hasTLS ? ["ldaps://127.0.0.1:\(securePort)"] : []
        // `-d` keeps it in the foreground, so that it is ours to end, and lets it say when it is ready.
        let arguments = ["-f", file("slapd.conf"), "-h", (urls + secure).joined(separator: " "), "-d", "none"]
        let process = try Self.process(try #require(Self.path), arguments, file("log"))
        let pipe = Pipe()
        process.standardError = pipe
        try process.run()
        self.process = process
        output = pipe.fileHandleForReading
        while !log.contains("slapd starting") {
            let more = pipe.fileHandleForReading.availableData
            guard !more.isEmpty else { break }
            log += String(decoding: more, as: UTF8.self)
        }
        try #require(log.contains("slapd starting"), "slapd did not start: \(log)")
        // It says so before it listens.
        for number in [port] + (options.hasTLS ? [securePort] : []) { while process.isRunning, !FreePort.isHeard(number) { sched_yield() } }
    }

    /// At once, since it would wait for whoever reads nothing of what it says. What it has answered is on disk.
    func stop() {
        kill(SIGKILL)
    }

    /// SIGSTOP lets it hang: connections are still accepted, by the system. SIGCONT lets it go on.
    func kill(_ signal: Int32) {
        guard let process, process.isRunning else { return }
        #if canImport(Glibc)
        _ = Glibc.kill(process.processIdentifier, signal)
        #elseif canImport(Musl)
        _ = Musl.kill(process.processIdentifier, signal)
        #else
        _ = Darwin.kill(process.processIdentifier, signal)
        #endif
        guard signal == SIGKILL else { return }
        process.waitUntilExit()
        self.process = nil
    }

    // MARK: What it holds

    /// Adds entries while it does not run.
    func load(_ ldif: String) throws {
        let path = file("load-\(UUID().uuidString).ldif")
        try ldif.write(toFile: path, atomically: true, encoding: .utf8)
        try load(file: path)
    }

    private func load(file path: String) throws {
        // slapd is slapadd too, by the name that it is called by.
        try Self.run(try #require(Self.path), ["-T", "add", "-q", "-f", file("slapd.conf"), "-l", path], file("slapadd.log"))
    }

    /// Changes entries as another program would: LDIF, with `changetype` or as entries to be added.
    func modify(_ ldif: String) throws {
        let path = file("modify-\(UUID().uuidString).ldif")
        try ldif.write(toFile: path, atomically: true, encoding: .utf8)
        try tool("ldapmodify", ["-a", "-f", path])
    }

    func delete(_ names: String...) throws { try tool("ldapdelete", names) }

    /// The directory hashes it itself (RFC 3062).
    func setPassword(_ password: String, of name: String) throws { try tool("ldappasswd", ["-s", password, name]) }

    private func tool(_ name: String, _ arguments: [String]) throws {
        let bind = ["-x", "-H", "ldap://127.0.0.1:\(port)", "-D", Self.admin, "-w", Self.adminPassword]
        try Self.run("/usr/bin/" + name, bind + arguments, file("tools.log"))
    }

    // MARK: Programs

    private static func process(_ path: String, _ arguments: [String], _ log: String) throws -> Process {
        if !FileManager.default.fileExists(atPath: log) { _ = FileManager.default.createFile(atPath: log, contents: nil) }
        let output = try #require(FileHandle(forWritingAtPath: log))
        try output.seekToEnd()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        return process
    }

    private static func run(_ path: String, _ arguments: [String], _ log: String) throws {
        let process = try process(path, arguments, log)
        try process.run()
        process.waitUntilExit()
        let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        try #require(process.terminationStatus == 0, "\(path) \(arguments): \(said)")
    }
}

// MARK: Its configuration

extension Slapd {
    private var configuration: String {
        let tls = """
            TLSCACertificateFile \(file("ca.pem"))
            TLSCertificateFile \(file("server.pem"))
            TLSCertificateKeyFile \(file("server.key"))
            TLSVerifyClient \(options.knowsClients ? "try" : "never")
            """
        let policy = """
            overlay ppolicy
            ppolicy_default "cn=default,ou=policies,dc=example,dc=org"
            ppolicy_use_lockout
            """
        let people = "access to attrs=mobile,title,jpegPhoto\n  by dn.exact=\"\(Self.service)\" write\n  by self write\n  by users read"
        let limit = options.sizeLimit.map(String.init) ?? "unlimited"
        return """
            include /etc/ldap/schema/core.schema
            include /etc/ldap/schema/cosine.schema
            include /etc/ldap/schema/inetorgperson.schema
            include /etc/ldap/schema/nis.schema
            include \(Self.fixture("martlet.schema"))
            pidfile \(file("slapd.pid"))
            modulepath /usr/lib/ldap
            moduleload back_mdb
            moduleload syncprov
            moduleload ppolicy
            moduleload pw-pbkdf2
            password-hash {PBKDF2-SHA256}
            \(options.hasTLS ? tls : "")
            \(options.actsForPeople ? "authz-policy to" : "")
            authz-regexp .*,cn=peercred,cn=external,cn=auth \(Self.service)
            authz-regexp cn=martlet-service \(Self.service)
            authz-regexp uid=([^,]*),cn=[^,]*,cn=auth ldap:///ou=people,dc=example,dc=org??one?(uid=$1)
            sasl-secprops none
            database mdb
            suffix "dc=example,dc=org"
            rootdn "\(Self.admin)"
            rootpw \(Self.adminPassword)
            directory \(file("db"))
            index objectClass,entryUUID,entryCSN eq
            index uid,mail,xmppAddress,member,memberUid eq
            limits dn.exact="\(Self.service)" size.soft=\(limit) size.hard=\(limit) size.prtotal=unlimited time=unlimited
            access to attrs=userPassword,authPassword
              by dn.exact="\(Self.service)" write
              by self =xw
              by anonymous auth
              by * none
            \(options.actsForPeople ? people : "")
            access to *
              by dn.exact="\(Self.service)" write
              by users read
              by anonymous auth
            \(options.more)
            overlay syncprov
            syncprov-checkpoint 100 10
            \(options.hasSessionLog ? "syncprov-sessionlog 1000" : "")
            \(options.hasPolicy ? policy : "")

            """
    }

    /// Three wrong passwords lock an account; others are named by an entry's `pwdPolicySubentry`.
    private static let policies = """
        dn: ou=policies,dc=example,dc=org
        objectClass: organizationalUnit
        ou: policies

        dn: cn=default,ou=policies,dc=example,dc=org
        objectClass: device
        objectClass: pwdPolicy
        cn: default
        pwdAttribute: userPassword
        pwdMaxFailure: 3
        pwdLockout: TRUE
        pwdLockoutDuration: 600

        dn: cn=changing,ou=policies,dc=example,dc=org
        objectClass: device
        objectClass: pwdPolicy
        cn: changing
        pwdAttribute: userPassword
        pwdMustChange: TRUE

        dn: cn=expiring,ou=policies,dc=example,dc=org
        objectClass: device
        objectClass: pwdPolicy
        cn: expiring
        pwdAttribute: userPassword
        pwdMaxAge: 3600
        pwdExpireWarning: 3600

        dn: cn=expired,ou=policies,dc=example,dc=org
        objectClass: device
        objectClass: pwdPolicy
        cn: expired
        pwdAttribute: userPassword
        pwdMaxAge: 1

        """

    /// `ca.pem` vouches for `server.pem` and `client.pem`; `other.pem` for nobody.
    private static func makeCertificates(_ folder: String, _ name: String?) throws {
        func openssl(_ arguments: String) throws {
            try run("/usr/bin/env", ["-C", folder, "openssl"] + arguments.split(separator: " ").map(String.init), folder + "/openssl.log")
        }
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        for name in ["ca", "other"] {
            try openssl("req -x509 \(key) -keyout \(name).key -out \(name).pem -days 30 -subj /CN=\(name) -addext keyUsage=critical,keyCertSign,cRLSign")
        }
        let names = name.map { "DNS:\($0)" } ?? "DNS:localhost,IP:127.0.0.1"
        try "subjectAltName=\(names)\n".write(toFile: folder + "/server.cnf", atomically: true, encoding: .utf8)
        try "extendedKeyUsage=clientAuth\n".write(toFile: folder + "/client.cnf", atomically: true, encoding: .utf8)
        for (name, subject) in [("server", "localhost"), ("client", "martlet-service")] {
            try openssl("req \(key) -keyout \(name).key -out \(name).csr -subj /CN=\(subject)")
            try openssl("x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile \(name).cnf -out \(name).pem")
        }
    }
}

/// A TCP port on loopback that nobody else has.
private final class FreePort {
    private var descriptor: Int32
    private(set) var number = 0

    init() throws {
        descriptor = Self.socket()
        var address = Self.address(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let new = descriptor
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(new, $0, length) == 0 && getsockname(new, $0, &length) == 0 }
        }
        try #require(isBound)
        number = Int(UInt16(bigEndian: address.sin_port))
    }

    /// Whether somebody listens there.
    static func isHeard(_ number: Int) -> Bool {
        let caller = socket()
        defer { close(caller) }
        var address = address(number)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(caller, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
    }

    /// Somebody else may have it now.
    func close() {
        Self.close(descriptor)
        descriptor = -1
    }

    private static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        return address
    }

    private static func socket() -> Int32 {
        #if canImport(Glibc)
        Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #elseif canImport(Musl)
        Musl.socket(AF_INET, SOCK_STREAM, 0)
        #else
        Darwin.socket(AF_INET, SOCK_STREAM, 0)
        #endif
    }

    private static func close(_ descriptor: Int32) {
        #if canImport(Glibc)
        _ = Glibc.close(descriptor)
        #elseif canImport(Musl)
        _ = Musl.close(descriptor)
        #else
        _ = Darwin.close(descriptor)
        #endif
    }
}
