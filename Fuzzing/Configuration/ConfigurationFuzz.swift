import martlet

/// Any bytes are either a configuration or a list of problems with a place; what is a configuration can be written out
/// and read back as the same one.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    // The first line may be an environment variable, so that overrides are tried too.
    let (environment, text) = split(bytes)
    do throws(ConfigurationFailure) {
        let loaded = try loader(text).load(file: "/etc/martlet.yaml", environment: environment)
        checkRoundTrip(loaded.configuration)
        _ = loaded.settings.map(\.description)
    } catch {
        precondition(!error.problems.isEmpty, "refused without a reason")
        precondition(error.problems.allSatisfy { !$0.description.isEmpty }, "a problem without a text")
    }
    return 0
}

private func loader(_ bytes: [UInt8]) -> ConfigurationLoader {
    ConfigurationLoader(
        files: ConfigurationFiles(
            read: { _, bytesMax in bytes.count <= bytesMax ? .success(bytes) : .failure(.tooLarge(bytesMax: bytesMax)) },
            fault: { _ in nil }))
}

private func split(_ bytes: [UInt8]) -> (environment: [String: String], text: [UInt8]) {
    let prefix = Array("MARTLET_".utf8)
    guard bytes.starts(with: prefix) else { return ([:], bytes) }
    let line = bytes.prefix { $0 != 0x0a }
    let parts = line.split(separator: 0x3d, maxSplits: 1).map { String(decoding: $0, as: UTF8.self) }
    guard let name = parts.first, let value = parts.last, parts.count == 2 else { return ([:], bytes) }
    return ([name: value], Array(bytes.dropFirst(line.count + 1)))
}

private func checkRoundTrip(_ configuration: ServerConfiguration) {
    let written = ConfigurationDocuments.exampleFile(for: configuration)
    do throws(ConfigurationFailure) {
        let again = try loader(Array(written.utf8)).load(file: "/etc/martlet.yaml").configuration
        let difference = ConfigurationDifference(from: configuration, to: again)
        precondition(difference.isEmpty && again == configuration, "written and read back: \(difference.changes)")
    } catch {
        preconditionFailure("what was written cannot be read: \(error)")
    }
}
