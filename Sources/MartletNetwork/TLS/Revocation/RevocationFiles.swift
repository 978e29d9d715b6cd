import SwiftASN1

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What is wrong with a file that should hold lists of revoked certificates.
package struct RevocationFileError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case unreadable(String)
        case unusable(RevocationFault)
        /// More files than are looked at.
        case tooMany
    }
    package let path: String
    package let reason: Reason

    package var description: String {
        switch reason {
        case .unreadable(let why): "\(path) cannot be read: \(why)"
        case .unusable(let fault): "\(path) holds no list of revoked certificates (DER, or PEM with -----BEGIN X509 CRL-----) that can be used: \(fault)"
        case .tooMany: "\(path): more than \(RevocationFiles.filesMax) files"
        }
    }
}

/// The lists of revoked certificates that the operator keeps in files.
package struct RevocationFiles: Sendable {
    /// Most files, those in folders included.
    package static let filesMax = 256
    /// Longest file, in bytes: PEM takes a third more than the list itself.
    package static let fileBytesMax = RevocationList.bytesMax / 3 * 4 + (1 << 20)
    /// Most results of looking who has made a list that are remembered.
    static let proofsMax = 4_096

    /// A list, which its issuer may be asked about.
    struct Place: Hashable {
        let path: String
        let number: Int
    }

    struct Proof: Hashable {
        let place: Place
        let issuer: RevocationIssuer
    }

    /// By which it is seen whether it has changed.
    private struct Stamp: Hashable {
        let seconds: Int
        let nanoseconds: Int
        let bytes: Int
        let number: UInt64
    }

    private struct File {
        let path: String
        let stamp: Stamp
        let lists: [RevocationList]
    }

    /// As they were named: files, and folders whose files are meant.
    private var paths: [String] = []
    private var files: [File] = []

    package init() {}

    /// - Parameter paths: of files and folders.
    /// - Throws: what is wrong with the first bad one.
    package init(_ paths: [String]) throws(RevocationFileError) {
        self.paths = paths
        let (files, errors) = RevocationFiles(paths: paths, files: []).reread()
        if let error = errors.first { throw error }
        self = files
    }

    private init(paths: [String], files: [File]) { (self.paths, self.files) = (paths, files) }

    var lists: [(Place, RevocationList)] {
        files.flatMap { file in file.lists.enumerated().map { (Place(path: file.path, number: $0), $1) } }
    }

    /// Files with a list that does not count any more at that time, in seconds since 1970.
    package func outdated(at now: Int) -> [String] {
        files.filter { file in file.lists.contains { list in (try? list.check(now)) == nil } }.map(\.path)
    }

    package var count: Int { files.reduce(0) { $0 + $1.lists.count } }

    /// The same with what has changed. What is wrong now stays as it was.
    func reread() -> (RevocationFiles, [RevocationFileError]) {
        var (fresh, errors): ([File], [RevocationFileError]) = ([], [])
        for path in Self.expanded(paths, &errors) {
            let old = files.first { $0.path == path }
            do throws(RevocationFileError) {
                let stamp = try Self.stamp(path)
                fresh.append(old?.stamp == stamp ? old ?? File(path: path, stamp: stamp, lists: []) : File(path: path, stamp: stamp, lists: try Self.read(path)))
            } catch {
                errors.append(error)
                if let old { fresh.append(old) }
            }
        }
        return (RevocationFiles(paths: paths, files: fresh), errors)
    }

    // MARK: Reading

    private static func expanded(_ paths: [String], _ errors: inout [RevocationFileError]) -> [String] {
        let all = paths.flatMap { path in names(in: path).map { $0.map { "\(path)/\($0)" } } ?? [path] }
        if all.count > filesMax { errors.append(RevocationFileError(path: all[filesMax], reason: .tooMany)) }
        return Array(all.prefix(filesMax))
    }

    /// The files in a folder, hidden ones excepted, in order; `nil` if it is none.
    private static func names(in folder: String) -> [String]? {
        guard let entries = opendir(folder) else { return nil }
        defer { closedir(entries) }
        var names: [String] = []
        while let entry = readdir(entries) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
            if !name.hasPrefix("."), names.count <= filesMax { names.append(name) }
        }
        return names.sorted()
    }

    private static func stamp(_ path: String) throws(RevocationFileError) -> Stamp {
        var status = stat()
        guard stat(path, &status) == 0 else { throw RevocationFileError(path: path, reason: .unreadable(FileContents.describe(errno))) }
        let time = status.st_mtim
        return Stamp(seconds: Int(time.tv_sec), nanoseconds: Int(time.tv_nsec), bytes: Int(status.st_size), number: UInt64(status.st_ino))
    }

    private static func read(_ path: String) throws(RevocationFileError) -> [RevocationList] {
        let bytes: [UInt8]
        do throws(FileContents.Unreadable) { bytes = try FileContents.read(path, bytesMax: fileBytesMax) } catch {
            throw RevocationFileError(path: path, reason: .unreadable(FileContents.describe(error.errno)))
        }
        do throws(RevocationFault) {
            guard bytes.starts(with: "-----BEGIN".utf8) else { return [try RevocationList(bytes)] }
            guard let documents = try? PEMDocument.parseMultiple(pemString: String(decoding: bytes, as: UTF8.self)) else { throw .malformed }
            let lists = documents.filter { $0.discriminator == "X509 CRL" }
            guard !lists.isEmpty else { throw .malformed }
            return try lists.map { (document) throws(RevocationFault) in try RevocationList(document.derBytes) }
        } catch {
            throw RevocationFileError(path: path, reason: .unusable(error))
        }
    }
}

extension RevocationFiles: Hashable {
    /// Whether they are the same files, unchanged.
    package static func == (one: RevocationFiles, other: RevocationFiles) -> Bool {
        one.paths == other.paths && one.files.map(\.path) == other.files.map(\.path) && one.files.map(\.stamp) == other.files.map(\.stamp)
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(paths) }
}
