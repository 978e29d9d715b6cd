public import ArgumentParser
public import MartletLDAP

struct DirectoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "directory", abstract: "Prepare a directory (LDAP) for this server.", subcommands: [PrintSchema.self])

    struct PrintSchema: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "schema", abstract: "Print the attributes and object classes that this server adds to a directory.",
            discussion: """
                slapd: a file for 'include' in OpenLDAP's slapd.conf. olc: an entry for 'ldapadd', where OpenLDAP keeps its configuration as a \
                directory (cn=config). 389: changes for 'ldapmodify' to 389 Directory Server.
                """)
        @Option(help: "One of slapd, olc, 389.") var format = SchemaText.Format.slapd

        func run() async throws { print(SchemaText.text(format), terminator: "") }
    }
}

extension SchemaText.Format: ExpressibleByArgument {}
