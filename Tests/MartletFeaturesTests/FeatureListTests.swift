import Foundation
import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import NIOCore
import Testing

@Suite("The list of features")
struct FeatureListTests {
    private let list: FeatureList = {
        let time = ManualTime()
        return FeatureList(features: StandardFeatures.all(FeatureConfiguration(softwareVersion: "1.0", time: time, uptime: Uptime(time))))
    }()

    /// After a change: `MARTLET_WRITE_DOCS=1 swift test --filter FeatureListTests`.
    @Test("docs/features.md and docs/martlet.doap say what the code does", arguments: ["features.md", "martlet.doap"])
    func current(name: String) throws {
        let text = name == "features.md" ? list.markdown : list.doap
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/\(name)")
        if ProcessInfo.processInfo.environment["MARTLET_WRITE_DOCS"] != nil { try text.write(to: file, atomically: true, encoding: .utf8) }
        #expect(try String(contentsOf: file, encoding: .utf8) == text)
    }

    @Test("the DOAP file is XML")
    func wellFormed() throws {
        let document = list.doap.drop { $0 != "\n" }
        _ = try parseElement(ByteBuffer(string: String(document)), limits: .authenticated, defaultNamespace: .none)
    }

    @Test("no specification is listed twice with the same title")
    func once() {
        let names = list.entries.map { "\($0.specification.name) \($0.specification.title)" }
        #expect(Set(names).count == names.count)
    }

    @Test("every feature of an XEP is in a file with its number")
    func files() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/MartletFeatures")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path())
        for entry in list.entries where !StandardFeatures.beside.contains(entry.specification) {
            let prefix = entry.specification.name.replacing(" ", with: "-") + "-"
            #expect(files.contains { $0.hasPrefix(prefix) }, "\(prefix)*.swift")
        }
    }
}
