import MartletNetwork
import Testing

import martlet

@Suite("a bucket for uploaded files, and the addresses of host-meta.json")
struct UploadPlaceTests {
    private static func bucket(_ more: String = "", without key: String = "", fileBytes: String = "100MiB") -> String {
        let keys = [
            "endpoint": "https://s3.example.net", "bucket": "files", "access-key": "A", "secret-key-file": "/s3.secret",
        ].filter { $0.key != key && !more.contains("\($0.key):") }
        let lines = keys.sorted { $0.key < $1.key }.map { "    \($0.key): \($0.value)\n" }.joined()
        return minimal + "uploads:\n  store: s3\n  file-bytes: \(fileBytes)\n  account-bytes: 64GiB\n  account-bytes-per-day: 64GiB\n  s3:\n\(lines)"
            + (more.isEmpty ? "" : "    \(more)\n")
    }

    private func found(_ text: String) -> [String] { problems(text, readable: ["/s3.secret"]).map { "\($0.path): \($0.message)" } }

    @Test("it is complete, or refused", arguments: ["", "endpoint", "bucket", "access-key", "secret-key-file"])
    func incomplete(key: String) {
        #expect(found(Self.bucket(without: key)) == (key.isEmpty ? [] : ["uploads.store: a bucket needs uploads.s3.\(key)"]))
        // What is not used need not be complete.
        #expect(problems(minimal + "uploads: {s3: {bucket: files}}\n").isEmpty)
    }

    @Test("its secret can be read, and a file is at most 5 GiB large", arguments: ["5GiB", "5121MiB"])
    func limits(size: String) {
        #expect(found(Self.bucket(fileBytes: size)).count == (size == "5GiB" ? 0 : 1))
        #expect(problems(Self.bucket()).map(\.path) == ["uploads.s3.secret-key-file"])
    }

    @Test("what cannot be part of a request is refused", arguments: [
        ("endpoint: s3.example.net", false), ("endpoint: \"https://s3.example.net/\"", false), ("endpoint: ftp://s3.example.net", false), ("endpoint: https://s3.example.net:9000", true),
        ("bucket: ab", false), ("bucket: abc", true), ("bucket: Files", false), ("bucket: a/b/c", false), ("bucket: \"-abc\"", false),
        ("access-key: A/B", false), ("access-key: A B", false), ("access-key: AKIAIOSFODNN7EXAMPLE", true),
        ("prefix: /a", false), ("prefix: a/", false), ("prefix: a//b", false), ("prefix: a/../b", false), ("prefix: chat/uploads", true),
        ("endpoint: https://192.0.2.1", false), ("endpoint: \"https://192.0.2.1\"\n    path-style: true", true),
    ])
    func values(line: String, isGood: Bool) {
        #expect(found(Self.bucket(line)).isEmpty == isGood, "\(found(Self.bucket(line)))")
    }

    @Test("lengths are bounded on both sides", arguments: [0, 1])
    func lengths(more: Int) {
        #expect(found(Self.bucket("bucket: " + String(repeating: "a", count: 63 + more))).isEmpty == (more == 0))
        #expect(found(Self.bucket("access-key: " + String(repeating: "A", count: 128 + more))).isEmpty == (more == 0))
        #expect(found(Self.bucket("prefix: " + String(repeating: "a", count: 200 + more))).isEmpty == (more == 0))
    }

    @Test("what crosses the network in the clear is warned about, what stays on the machine is not", arguments: [
        ("http://s3.example.net", 1), ("http://127.0.0.1:9000", 0), ("http://192.0.2.1", 1), ("https://192.0.2.1", 0),
    ])
    func clear(endpoint: String, warnings: Int) throws {
        let loaded = try load(Self.bucket("endpoint: \"\(endpoint)\"\n    path-style: true"), readable: ["/s3.secret"])
        #expect(loaded.warnings.count { $0.path == "uploads.s3.endpoint" } == warnings)
    }

    @Test("host-meta.json says the ports if it can say all (XEP-0487)", arguments: [
        ("", [5223], [5270]), ("federation: {enabled: false}\n", [5223], []),
        ("listeners: [{kind: client-tls, port: 443, addresses: [\"0.0.0.0\"]}, {kind: server, port: 5269}]\n", nil, nil),
        ("listeners: [{kind: client, port: 5222}, {kind: server-tls, port: 5270}]\n", nil, nil),
        ("listeners: [{kind: client-tls, port: 443, addresses: [127.0.0.1]}, {kind: server-tls, port: 5270}]\n", nil, nil),
    ] as [(String, [Int]?, [Int]?)])
    func ports(text: String, clients: [Int]?, servers: [Int]?) throws {
        let loaded = try load(minimal + "web: {addresses: [192.0.2.1]}\n" + text)
        let ports = NetworkAssembly(configuration: loaded.configuration).settings.web.ports
        #expect(ports?.clients == clients && ports?.servers == servers)
        #expect(loaded.warnings.contains { $0.path == "web.addresses" } == (clients == nil))
        #expect(try NetworkAssembly(configuration: load(minimal + text).configuration).settings.web.ports == nil)
    }
}
