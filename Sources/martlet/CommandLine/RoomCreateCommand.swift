import ArgumentParser
import Foundation

extension RoomCommand {
    struct Create: AsyncParsableCommand {
        /// Longest file of a password, in bytes.
        static let passwordFileBytesMax = 4_096

        static let configuration = CommandConfiguration(
            abstract: "Create a room that can be entered at once.",
            discussion: """
                The room stays when nobody is in it; a temporary one goes with its last occupant, or when nobody has entered it for an hour. What \
                else is not said is as for any new room (rooms.standard in the configuration).
                """)
        @OptionGroup var target: Target
        @Option(help: ArgumentHelp("An owner; may be given several times.", valueName: "jid")) var owner: [String] = []
        @Option(help: "The room's name.") var name: String?
        @Option(help: "What the room is for.") var description: String?
        @Flag(help: "The room goes with its last occupant.") var temporary = false
        @Flag(inversion: .prefixedNo, help: "Only members may enter.") var membersOnly: Bool?
        @Flag(inversion: .prefixedNo, help: "The room is not listed.") var hidden: Bool?
        @Flag(inversion: .prefixedNo, help: "Who has no affiliation enters without voice.") var moderated: Bool?
        @Flag(inversion: .prefixedNo, help: "Everybody sees everybody's address.") var showAddresses: Bool?
        @Flag(inversion: .prefixedNo, help: "Messages are kept in the room's archive.") var archive: Bool?
        @Option(help: ArgumentHelp("For how many days; 0 is as long as the server keeps any.", valueName: "count")) var archiveDays: Int?
        @Option(help: ArgumentHelp("Most occupants.", valueName: "count")) var occupants: Int?
        @Option(help: ArgumentHelp("A file whose first line is the room's password; - is standard input.", valueName: "file"), completion: .file())
        var passwordFile: String?

        func run() async throws {
            guard !owner.isEmpty else { throw RoomAdministration.ownerMissing }
            let room = NewRoom(address: target.address, owners: owner, settings: try settings())
            try await AccountCommand.atDesk(try target.options.load()) { desk in _ = try await desk.ask(.room(.create(room))) }
            Terminal.say("created \(target.address)  (\(temporary ? "temporary" : "persistent"))")
        }

        /// Fields of XEP-0045 §16.4.
        private func settings() throws(CommandFailure) -> [String: String] {
            let switches = [
                "persistentroom": !temporary, "membersonly": membersOnly, "publicroom": hidden.map { !$0 }, "moderatedroom": moderated,
                "enablearchiving": archive,
            ]
            var settings = switches.compactMapValues { $0.map { $0 ? "1" : "0" } }
            settings["roomname"] = name
            settings["roomdesc"] = description
            settings["whois"] = showAddresses.map { $0 ? "anyone" : "moderators" }
            settings["archive_days"] = archiveDays.map { String($0) }
            settings["maxusers"] = occupants.map { String($0) }
            settings["roomsecret"] = try passwordFile.map(Self.password)
            return Dictionary(settings.map { ("muc#roomconfig_\($0.key)", $0.value) }) { first, _ in first }
        }

        private static func password(in file: String) throws(CommandFailure) -> String {
            let bytes = try file == "-" ? Array(FileHandle.standardInput.readData(ofLength: passwordFileBytesMax)) : PrivateFiles.read(file, bytesMax: passwordFileBytesMax)
            let line = String(decoding: bytes, as: UTF8.self).prefix { !$0.isNewline }
            guard !line.isEmpty else { throw CommandFailure(.data, "\(file): the first line is to be the password, and is empty") }
            return String(line)
        }
    }
}
