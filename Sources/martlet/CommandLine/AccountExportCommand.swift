import ArgumentParser
import Foundation
import MartletFeatures
import MartletXMPP
import NIOCore

struct AccountExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write accounts with everything they have into one document (XEP-0227).",
        discussion: """
            What is written: keys of passwords, contacts, cards, private data, blocked addresses, nodes, and messages that wait. Other servers \
            can read it, and so can 'martlet account import'. It is as secret as the data folder: whoever has the keys of a password can try \
            passwords, and pretend to be the server.
            """)
    @OptionGroup var options: ConfigurationOption
    @Argument(help: ArgumentHelp("The accounts, such as juliet@example.org.", valueName: "jid")) var jids: [String] = []
    @Option(help: "All accounts of a domain.") var domain: String?
    @Flag(help: "All accounts.") var all = false
    @Flag(help: "With their archives.") var archives = false
    @Option(name: .shortAndLong, help: "The file, which only its owner may read; standard output without.", completion: .file()) var output: String?

    func validate() throws {
        let ways = [!jids.isEmpty, domain != nil, all].count { $0 }
        guard ways == 1 else { throw ValidationError("name accounts, or use --domain, or --all") }
    }

    func run() async throws {
        let loaded = try options.load()
        let document = try DocumentFile(output)
        var count = 0
        do {
            try await AccountCommand.atDesk(loaded) { desk in
                try document.write(PortableExport.documentStart())
                count = try await write(to: document, desk)
                try document.write(PortableExport.documentEnd)
            }
            try document.finish()
        } catch {
            document.discard()
            throw error
        }
        if Terminal.showsProgress { Terminal.progress("") }
        if let output { Terminal.say("\(output): \(count.counted("account"))") }
    }

    /// - Returns: how many accounts there were.
    private func write(to document: DocumentFile, _ desk: AccountDesk) async throws(CommandFailure) -> Int {
        var writer = HostWriter(document: document)
        if jids.isEmpty {
            var last: String?
            while case .accounts(let page) = try await desk.ask(.accounts(domain: domain, after: last)), let end = page.last {
                for account in page { try await write(account.address, mustBeThere: false, &writer, desk) }
                last = end.address
            }
        } else {
            var addresses = Set<String>()
            for jid in jids { addresses.insert(try AccountAddress.parse(jid).description) }
            let sorted = addresses.sorted { ($0.split(separator: "@").last ?? "", $0) < ($1.split(separator: "@").last ?? "", $1) }
            for address in sorted { try await write(address, mustBeThere: true, &writer, desk) }
        }
        try writer.end()
        return writer.count
    }

    /// - Parameter mustBeThere: whether it was named; otherwise it may have gone since it was listed.
    private func write(_ address: String, mustBeThere: Bool, _ writer: inout HostWriter, _ desk: AccountDesk) async throws(CommandFailure) {
        var place: PortableExport.Place? = .account
        while let next = place {
            do throws(CommandFailure) {
                guard case .portable(let page) = try await desk.ask(.portable(.page(of: address, at: next, hasArchive: archives))) else { return }
                if next == .account { try writer.begin(try AccountAddress.parse(address).domainpart) }
                try writer.write(page.lines)
                place = page.next
            } catch {
                guard error.status == .noAccount, !mustBeThere, next == .account else { throw error }
                return
            }
        }
        writer.count += 1
        if Terminal.showsProgress { Terminal.progress("\(writer.count) \(address)") }
    }
}

/// Puts accounts into the domains they belong to.
private struct HostWriter {
    let document: DocumentFile
    var count = 0
    private var domain: String?

    init(document: DocumentFile) { self.document = document }

    mutating func begin(_ next: String) throws(CommandFailure) {
        if domain == next { return }
        try end()
        try document.write(PortableExport.hostStart(next))
        domain = next
    }

    func write(_ lines: [String]) throws(CommandFailure) {
        for line in lines { try document.write(ByteBuffer(string: line)) }
    }

    mutating func end() throws(CommandFailure) {
        if domain != nil { try document.write(PortableExport.hostEnd) }
        domain = nil
    }
}
